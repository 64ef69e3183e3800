"use client";

import { ArrowDownIcon, ArrowUpIcon } from "@heroicons/react/24/outline";
import { useEffect, useState } from "react";
import { API_PREFIX } from "@/lib/api";
import { change } from "@/lib/numbers";
import { Copy } from "./copy";
import { Empty } from "./states";

/** The change against the stretch before, by arrow and word. */
export function Delta({
  now,
  before,
  up,
}: {
  now: number | null | undefined;
  before: number | null | undefined;
  up?: "good" | "bad";
}) {
  const moved = change(now, before);
  if (moved === null) return <span className="block">no figure for the period before</span>;
  const rising = moved > 0;
  const tone = !up || Math.abs(moved) < 0.05 ? "text-muted" : rising === (up === "good") ? "text-good" : "text-bad";
  const Icon = rising ? ArrowUpIcon : ArrowDownIcon;
  return (
    <span className={`tabular flex items-center gap-1 ${tone}`}>
      {Math.abs(moved) >= 0.05 && <Icon aria-hidden="true" className="size-3" />}
      {Math.abs(moved) < 0.05 ? "as in" : told(moved)} the period before
    </span>
  );
}

/** Next to nothing before makes a percentage that says nothing. */
function told(moved: number): string {
  if (moved > 900) return "more than ten times";
  return `${moved > 0 ? "up" : "down"} ${Math.abs(moved).toFixed(1)} % against`;
}

/** What to do where nothing has been asked yet. */
export function First({ range }: { range: string }) {
  const [origin, setOrigin] = useState("");
  useEffect(() => setOrigin(API_PREFIX.startsWith("http") ? API_PREFIX : window.location.origin + API_PREFIX), []);
  const line = `curl ${origin}/infer -H "authorization: Bearer $ASAHI_API_KEY" -H 'content-type: application/json' -d '{"prompt": "Hello"}'`;
  return (
    <Empty title={range === "24h" ? "No request in the last 24 hours" : "No request in this range"}>
      <p>Send one, and its figures are here within seconds:</p>
      <pre className="my-3 overflow-x-auto rounded-lg bg-surface p-3 text-left text-xs text-ink">{line}</pre>
      <Copy text={line} label="Copy the command" shown="Copy" />
    </Empty>
  );
}
