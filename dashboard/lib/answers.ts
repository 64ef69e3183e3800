/** What the gateway answers. Where the contract says only "an object", the fields that pages read are written here. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Me = Schemas["Me"];
export type Health = Schemas["Health"];
export type Reply = Schemas["Reply"];
export type BudgetRow = Schemas["BudgetRow"];
export type BudgetPage = Schemas["BudgetPage"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditPage = Schemas["asahi_audit_routes_Page"];
export type Verdict = Schemas["Verdict"];
export type KeyRow = Schemas["routes_Row"];
export type KeyPage = Schemas["asahi_access_routes_Page"];
export type Made = Schemas["Made"];
export type RuleRow = Schemas["RuleRow"];
export type RulePage = Schemas["RulePage"];
export type Rehearsal = Schemas["Rehearsal"];
export type AlertCount = Schemas["AlertCount"];
export type Tests = Schemas["Tests"];

type Amount = number | null;

export interface Report<T, M = object> {
  data: T;
  meta: { org_id: string; from: string; to: string; generated_at: string; partial: boolean } & M;
}

export interface Totals {
  total_cost: Amount;
  baseline_cost: Amount;
  savings_percent: Amount;
  absolute_savings: Amount;
  overhead_cost: Amount;
  total_requests: number;
  unpriced_requests: number;
  errors: number;
  cache_hit_rate: number;
  avg_latency_ms: Amount;
  avg_quality: Amount;
  quality_samples: number;
}

export interface Point {
  timestamp: string;
  cost: Amount;
  baseline_cost: Amount;
  saved: Amount;
  requests: number;
  errors: number;
  cache_hit_rate: Amount;
  t1_hits: number;
  t2_hits: number;
  t3_hits: number;
  partial?: boolean;
}

export interface Tier {
  hits: number;
  misses: number;
  hit_rate: number;
  avg_latency_ms: Amount;
  cost_saved: Amount;
}

export interface CachePerformance {
  tier_1: Tier;
  tier_2: Tier & {
    false_hits: Amount;
    labelled_hits: number;
    false_hit_rate: Amount;
    interval: [number, number] | null;
  };
  tier_3: Tier;
  overall_hit_rate: number;
}

export interface Inference {
  request_id: string;
  timestamp: string;
  route: string;
  model_requested: string | null;
  model_used: string;
  task_type: string;
  cost: Amount;
  baseline_cost: Amount;
  saved: Amount;
  cache_hit: boolean;
  cache_tier: number;
  latency_ms: number;
  quality_score: Amount;
  routing_reason: string;
  input_tokens: number;
  output_tokens: number;
  status: string;
  error: string | null;
  user_id: string | null;
  key_id: string | null;
}

export interface Anomaly {
  id: string;
  anomaly_type: string;
  severity: string;
  metric_name: string;
  current_value: Amount;
  expected_value: Amount;
  deviation_pct: Amount;
  message: string;
  state: "active" | "acknowledged" | "resolved";
  detected_at: string;
  resolved_at: string | null;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
}

export interface Summary {
  totals: Totals;
  previous: Totals | null;
  series: Point[];
  by_model: { model: string; cost: Amount; requests: number }[];
  saved_by: Record<string, number> | null;
  cache: CachePerformance;
  alerts: Anomaly[];
  recent: Inference[];
  mock: boolean;
}

export interface Explained {
  request_id: string;
  timestamp: string;
  mode: string;
  task: { type: string; confidence?: number };
  difficulty: { score: number; bucket: string; predictor: string } | null;
  required: { quality?: Amount; latency_ms?: Amount; cost?: Amount; source: Record<string, string> };
  reason: string;
  cache: { tier: number; asked: boolean; hit: boolean; reason: string; similarity: Amount }[];
  rules: { rule: string; dropped: { model: string; reason: string }[]; order: string[] }[];
  candidates: {
    model: string;
    predicted_quality: Amount;
    estimated_cost: Amount;
    latency_ms: Amount;
    chosen: boolean;
    refused_by?: string;
    reason?: string;
  }[];
  attempts: {
    n: number;
    provider: string;
    model: string;
    outcome: string;
    http_status: number | null;
    ttft_ms: Amount;
    latency_ms: Amount;
    input_tokens: number;
    output_tokens: number;
    cost: Amount;
  }[];
  money: {
    cost: Amount;
    baseline_cost: Amount;
    saved: Amount;
    baseline_model: string | null;
    price_version: string | null;
  } | null;
  words: { kept: true; request: Turn[]; response: Turn[]; expires_at: string } | { kept: false; reason: string };
}

/** Something that was said; `cut` is how many characters of it were not kept. */
export interface Turn {
  role: string;
  text?: string;
  cut?: number;
}

export interface Model {
  name: string;
  provider: string;
  api_model: string | null;
  cost_per_1k_input_tokens: Amount;
  cost_per_1k_output_tokens: Amount;
  price_known: boolean;
  price_version: string | null;
  price_source: string | null;
  avg_latency_ms: number;
  measured_latency_ms: Amount;
  quality_score: number;
  task_quality: Record<string, number>;
  max_input_tokens: number;
  max_output_tokens: number;
  description: string;
  availability: string;
  region: string | null;
  capabilities: string[];
  provider_state: string;
}

export interface Models {
  models: Model[];
  count: number;
  task_types: string[];
  default_constraints: Record<string, { quality: number; latency_ms: number }>;
  aliases: Record<string, string>;
  baseline_model: string | null;
}

export interface CostRow {
  [dimension: string]: string | number | null | undefined;
  cost: Amount;
  share: number;
  requests: number;
  avg_cost: Amount;
  input_tokens: number;
  output_tokens: number;
  baseline: number;
  saved: number;
  errors: number;
  unpriced: number;
  previous_cost?: number;
}

export type Breakdown = Report<Record<string, Amount>, { rows: CostRow[] }>;

export interface TrendPoint {
  timestamp: string;
  value: Amount;
  p50?: Amount;
  p95?: Amount;
  p99?: Amount;
  by?: Record<string, Amount>;
  partial?: boolean;
}

export interface ModelRow {
  model: string;
  requests: number;
  hits: number;
  cost: Amount;
  avg_quality: Amount;
  quality_source: string | null;
  quality_samples: number;
  interval: [number, number] | null;
  p50: Amount;
  p95: Amount;
  error_rate: Amount;
}

export interface Percentiles {
  p50: Amount;
  p75: Amount;
  p90: Amount;
  p95: Amount;
  p99: Amount;
  count: number;
}

export interface Savings {
  baseline_cost: number;
  cost: number;
  overhead_cost: number;
  saved: number;
  saved_by: Record<string, number>;
  unpriced_requests: number;
  causal: { saved: number; low: number; high: number; held_out: number; compared: number } | null;
  ledger: { size: number; root: string | null; verified_at: string | null };
}

export interface Forecast {
  forecast: {
    [name: string]: unknown;
    trend: string;
    warning: string | null;
    confidence_low: number;
    confidence_high: number;
    daily: { date: string; value: number; low: number; high: number }[];
  };
  budget_risk: string | null;
  history: { date: string; value: number }[];
  backtest: { forecasts: number; mean_error_percent: number; worst_percent: number } | null;
}

export interface Advice {
  id: string;
  category: string;
  title: string;
  description: string;
  estimated_savings: Amount;
  interval: [number, number] | null;
  evidence: { request_ids: string[]; requests: number; basis: string };
  priority: "high" | "medium" | "low";
  action: string;
}

export interface CacheStats {
  t1?: TierStats;
  t2?: TierStats & { max_error_rate?: number | null; state?: string };
  t3?: TierStats;
  overall_hit_rate: number;
  storage_bytes: Amount;
  storage_limit_bytes: Amount;
  backend: Record<string, string>;
}

export interface TierStats {
  hits: number;
  misses: number;
  hit_rate: number;
  entries: Amount;
  bytes: Amount;
  cost_saved: Amount;
}

export interface CacheEntry {
  tier: number;
  key: string;
  entry_id: string;
  model: string;
  size_bytes: number;
  created_at: string;
  expires_at: string | null;
  hits: number;
  cost_saved: Amount;
  ttl_left_s?: number;
  query?: string;
}

export interface Policy {
  org_id: string;
  version: number;
  allowed_models: string[];
  blocked_models: string[];
  max_cost_per_day: Amount;
  max_cost_per_month: Amount;
  max_cost_per_request: Amount;
  max_requests_per_day: Amount;
  max_requests_per_minute: Amount;
  max_tokens_per_minute: Amount;
  default_quality_threshold: Amount;
  default_latency_budget_ms: Amount;
  require_audit_log: boolean;
  data_residency: string | null;
  injection_action: string | null;
  pii_action: string | null;
  updated_at?: string;
  updated_by?: string | null;
  deleted?: boolean;
}
