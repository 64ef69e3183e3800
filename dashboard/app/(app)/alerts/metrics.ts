import { count, milliseconds, money, share } from "@/lib/numbers";

/** What rules look at: its name, the unit of its threshold as it is typed, and how a value is written. */
export interface Metric {
  name: string;
  unit: string;
  /** What is typed is divided by this to be sent. */
  per: number;
  write: (value: number | null) => string;
  scopes: string[];
  /** The threshold that the form begins with. */
  usual: string;
  /** Rates and percentiles say nothing of a few requests. */
  rate?: boolean;
}

const EVERY = ["org", "key", "user", "model", "task"];
const FRACTION = { unit: "%", per: 100, write: (value: number | null) => share(value) };

export const METRICS: Record<string, Metric> = {
  cost: { name: "Cost", unit: "dollars", per: 1, write: (value) => money(value), scopes: EVERY, usual: "10" },
  error_rate: { name: "Error rate", ...FRACTION, scopes: EVERY, usual: "5", rate: true },
  p95_latency: {
    name: "Latency, p95",
    unit: "ms",
    per: 1,
    write: milliseconds,
    scopes: EVERY,
    usual: "2000",
    rate: true,
  },
  hit_rate: { name: "Cache hit rate", ...FRACTION, scopes: EVERY, usual: "20", rate: true },
  false_hit_rate: { name: "False hits", ...FRACTION, scopes: ["org"], usual: "1", rate: true },
  budget_share: { name: "Budget used", ...FRACTION, scopes: ["org", "key", "user"], usual: "90" },
  tokens: { name: "Tokens", unit: "tokens", per: 1, write: count, scopes: EVERY, usual: "1000000" },
  requests: { name: "Requests", unit: "requests", per: 1, write: count, scopes: EVERY, usual: "1000" },
};

export const SCOPES: Record<string, string> = {
  org: "The organisation",
  key: "One key",
  user: "One user",
  model: "One model",
  task: "One task",
};

/** Of an alert of a rule: the metric that its name holds. */
export function ofRule(metricName: string): Metric | undefined {
  const [kind, metric] = metricName.split(":");
  return kind === "rule" && metric ? METRICS[metric] : undefined;
}

export function minutes(value: number): string {
  if (value >= 2880 && value % 1440 === 0) return `${value / 1440} days`;
  if (value >= 60 && value % 60 === 0) return value === 60 ? "1 hour" : `${value / 60} hours`;
  return `${value} minutes`;
}
