/** A policy as the form holds it: texts, of which an empty one is "no limit". */

import type { Policy } from "@/lib/answers";

export const FIGURES = {
  max_cost_per_day: ["Dollars a day", "0.01"],
  max_cost_per_month: ["Dollars a month", "0.01"],
  max_cost_per_request: ["Dollars a request", "any"],
  max_requests_per_day: ["Requests a day", "1"],
  max_requests_per_minute: ["Requests a minute", "1"],
  max_tokens_per_minute: ["Tokens a minute", "1"],
  default_quality_threshold: ["Quality of at least, 0 to 5", "0.1"],
  default_latency_budget_ms: ["First token within, ms", "50"],
} as const;

export type Figure = keyof typeof FIGURES;

export interface Draft {
  figures: Record<Figure, string>;
  allowed: string[];
  blocked: string[];
  residency: string;
  injection: string;
  pii: string;
  audit: boolean;
}

const NAMES = Object.keys(FIGURES) as Figure[];

export function draftOf(policy: Policy | null): Draft {
  const figures = Object.fromEntries(NAMES.map((name) => [name, policy?.[name]?.toString() ?? ""]));
  return {
    figures: figures as Record<Figure, string>,
    allowed: policy?.allowed_models ?? [],
    blocked: policy?.blocked_models ?? [],
    residency: policy?.data_residency ?? "",
    injection: policy?.injection_action ?? "",
    pii: policy?.pii_action ?? "",
    audit: policy?.require_audit_log ?? true,
  };
}

export function bodyOf(draft: Draft): Record<string, unknown> {
  const figures = Object.fromEntries(
    NAMES.map((name) => [name, draft.figures[name].trim() === "" ? null : Number(draft.figures[name])]),
  );
  return {
    ...figures,
    allowed_models: draft.allowed,
    blocked_models: draft.blocked,
    data_residency: draft.residency || null,
    injection_action: draft.injection || null,
    pii_action: draft.pii || null,
    require_audit_log: draft.audit,
  };
}

/** What a save would change, in words. */
export function differences(before: Draft, after: Draft): [string, string, string][] {
  const old = bodyOf(before);
  const next = bodyOf(after);
  const tell = (value: unknown) =>
    value === null ? "not set" : Array.isArray(value) ? value.join(", ") || "none" : String(value);
  return Object.keys(next)
    .filter((name) => JSON.stringify(old[name]) !== JSON.stringify(next[name]))
    .map((name) => [name.replaceAll("_", " "), tell(old[name]), tell(next[name])]);
}
