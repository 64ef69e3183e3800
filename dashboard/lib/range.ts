"use client";

import { useMemo } from "react";
import type { Query } from "./api";
import { usePathname, useRouter, useSearchParams } from "./nav";
import { zone } from "./numbers";

export const RANGES = {
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
  "90d": "Last 90 days",
} as const;
export type RangeName = keyof typeof RANGES | "custom";
const PERIODS: Record<string, string> = { "24h": "day", "7d": "week", "30d": "month" };

export interface Range {
  name: RangeName;
  from: string | null;
  to: string | null;
  tz: string;
}

/** The stretch that a page is about, kept in its address. */
export function useRange(): [Range, (next: Partial<Range>) => void] {
  const found = useSearchParams();
  const router = useRouter();
  const path = usePathname();
  const text = found.toString();
  const range = useMemo<Range>(() => {
    const asked = new URLSearchParams(text);
    const from = asked.get("from");
    const to = asked.get("to");
    const tz = asked.get("tz") === "utc" ? "UTC" : zone();
    if (from && to) return { name: "custom", from, to, tz };
    const name = asked.get("range") ?? "7d";
    return { name: name in RANGES ? (name as RangeName) : "7d", from: null, to: null, tz };
  }, [text]);
  const change = (next: Partial<Range>) => {
    const asked = new URLSearchParams(text);
    const all = { ...range, ...next };
    for (const name of ["range", "from", "to", "tz"]) asked.delete(name);
    if (all.name === "custom" && all.from && all.to) {
      asked.set("from", all.from);
      asked.set("to", all.to);
    } else asked.set("range", all.name);
    if (all.tz === "UTC" && zone() !== "UTC") asked.set("tz", "utc");
    router.replace(`${path}?${asked}`, { scroll: false });
  };
  return [range, change];
}

/** The same as the reports' parameters. Ninety days end at a whole hour, so that the answer is asked for once. */
export function rangeQuery(range: Range): Query {
  if (range.name === "custom") return { from: range.from, to: range.to, tz: range.tz };
  const period = PERIODS[range.name];
  if (period) return { period, tz: range.tz };
  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
  return {
    from: new Date(hour - 90 * 86_400_000).toISOString(),
    to: new Date(hour + 3_600_000).toISOString(),
    tz: range.tz,
  };
}

/** The page's query with one thing changed; null takes it away. */
export function useQueryState(): [URLSearchParams, (changes: Record<string, string | null>) => void] {
  const found = useSearchParams();
  const router = useRouter();
  const path = usePathname();
  const change = (changes: Record<string, string | null>) => {
    const asked = new URLSearchParams(found.toString());
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === "") asked.delete(name);
      else asked.set(name, value);
    }
    const text = asked.toString();
    router.replace(text ? `${path}?${text}` : path, { scroll: false });
  };
  return [new URLSearchParams(found.toString()), change];
}
