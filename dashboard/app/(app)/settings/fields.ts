/** What an organisation may want, group by group, as the form asks for it. */

export interface Setting {
  key: string;
  label: string;
  kind: "text" | "number" | "switch" | "choice" | "list";
  options?: Record<string, string>;
  least?: number;
  most?: number;
  step?: string;
  hint?: string;
}

const flag = (key: string, label: string, hint?: string): Setting => ({ key, label, kind: "switch", hint });
const text = (key: string, label: string, hint?: string): Setting => ({ key, label, kind: "text", hint });
const figure = (key: string, label: string, least: number, most: number, step: string, hint?: string): Setting => ({
  key,
  label,
  kind: "number",
  least,
  most,
  step,
  hint,
});
const choice = (key: string, label: string, options: Record<string, string>): Setting => ({
  key,
  label,
  kind: "choice",
  options,
});

export const GROUPS: Record<string, { name: string; fields: Setting[] }> = {
  general: {
    name: "General",
    fields: [
      text("organisation_name", "Organisation"),
      text("contact_email", "E-mail"),
      text("api_base_url", "Address of the API"),
      text("timezone", "Time zone", "Such as Europe/Berlin"),
      flag("notifications", "Notifications"),
      flag("email_alerts", "Alerts by e-mail"),
      { key: "alert_emails", label: "Addresses for alerts", kind: "list", hint: "Separated by commas" },
      flag("weekly_report", "Weekly report"),
    ],
  },
  cache: {
    name: "Cache",
    fields: [
      flag("t1_enabled", "Exact cache"),
      figure("t1_ttl_hours", "Exact entries live for, hours", 1, 8_760, "1"),
      flag("t2_enabled", "Semantic cache"),
      figure("t2_threshold", "Similarity of at least", 0, 1, "0.01", "0 to 1; empty: by task, as measured"),
      figure("t2_max_error_rate", "Wrong hits of at most", 0, 0.2, "0.001", "0.01 is one in a hundred"),
      choice("t2_cost_sensitivity", "Rather cheap or rather careful", {
        high: "Cheap",
        medium: "Medium",
        low: "Careful",
      }),
      flag("t3_enabled", "Intermediate cache"),
      figure("t3_ttl_hours", "Intermediate entries live for, hours", 1, 8_760, "1"),
      figure("max_size_gb", "All tiers together, GB", 0.001, 10_000, "any", "The operator may allow less"),
      flag("auto_cleanup", "Clean up by itself", "Off: what has expired stays listed in memory, and is never served"),
    ],
  },
  routing: {
    name: "Routing",
    fields: [
      choice("default_mode", "Mode where callers name none", { autopilot: "Autopilot", guided: "Guided" }),
      figure("default_quality_threshold", "Quality of at least", 0, 5, "0.1", "Empty: the table of tasks decides"),
      figure(
        "default_latency_budget_ms",
        "First token within, ms",
        50,
        30_000,
        "50",
        "Empty: the table of tasks decides",
      ),
      flag("cautious", "Cautious", "A model must be good enough also at the low end of its estimate"),
      flag("optimize_tokens", "Shorten prompts"),
      flag("allow_batching", "Batch requests"),
      flag("enrich_with_features", "Enrich prompts"),
      flag("share_quality", "Share what is learnt of quality"),
    ],
  },
  privacy: {
    name: "Privacy",
    fields: [
      flag("store_prompts", "Store prompts", "And answers, sealed, until the retention ends"),
      choice("pii_action", "Personal data in prompts", {
        off: "Let pass",
        flag: "Flag",
        redact: "Redact",
        block: "Refuse",
      }),
      choice("injection_action", "Prompt injection", { off: "Let pass", log: "Log", flag: "Flag", block: "Refuse" }),
    ],
  },
};

export type Value = string | number | boolean | null | string[];
export type Values = Record<string, Value>;

/** What the gateway keeps as what a control shows, and back. */
export function shown(value: Value | undefined): string {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

export function readValue(setting: Setting, typed: string): Value {
  if (setting.kind === "number") return typed.trim() === "" ? null : Number(typed);
  if (setting.kind === "list") {
    return typed
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean);
  }
  return typed;
}
