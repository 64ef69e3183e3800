/** What the form holds, and the body that it makes. */

export interface Draft {
  prompt: string;
  mode: "autopilot" | "guided" | "explicit";
  quality: string;
  latency: string;
  model: string;
  cache: string;
  semantic: boolean;
  intermediate: boolean;
  threshold: string;
  budgetMs: string;
  costBudget: string;
  similarity: string;
  system: string;
  document: string;
  task: string;
  maxTokens: string;
}

export const EMPTY: Draft = {
  prompt: "",
  mode: "autopilot",
  quality: "medium",
  latency: "normal",
  model: "",
  cache: "on",
  semantic: true,
  intermediate: true,
  threshold: "",
  budgetMs: "",
  costBudget: "",
  similarity: "",
  system: "",
  document: "",
  task: "",
  maxTokens: "",
};

export const MODES = {
  autopilot: "Asahi tells the task apart and takes the cheapest model that is good enough for it.",
  guided: "You say how good and how quick; Asahi takes the cheapest model that is both.",
  explicit: "You name the model; Asahi still asks its caches, and says what others would have cost.",
};

const number = (text: string) => (text.trim() === "" ? undefined : Number(text));

/** Only what was chosen, so that the gateway's own defaults hold for the rest. */
export function bodyOf(draft: Draft): Record<string, unknown> {
  const body: Record<string, unknown> = {
    prompt: draft.prompt,
    routing_mode: draft.mode,
    quality_preference: draft.mode === "guided" ? draft.quality : undefined,
    latency_preference: draft.mode === "guided" ? draft.latency : undefined,
    model: draft.mode === "explicit" ? draft.model : undefined,
    cache: draft.cache === "on" ? undefined : draft.cache,
    semantic_cache: draft.semantic ? undefined : false,
    intermediate_cache: draft.intermediate ? undefined : false,
    quality_threshold: number(draft.threshold),
    latency_budget_ms: number(draft.budgetMs),
    cost_budget: number(draft.costBudget),
    similarity_threshold: number(draft.similarity),
    system_prompt: draft.system || undefined,
    document: draft.document || undefined,
    task_type: draft.task || undefined,
    max_tokens: number(draft.maxTokens),
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
