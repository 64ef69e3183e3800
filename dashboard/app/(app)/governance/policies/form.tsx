"use client";

import { Choice, Field, input, Switch } from "@/components/field";
import { type Draft, FIGURES, type Figure } from "./draft";

export function PolicyForm({
  draft,
  edit,
  models,
  locked,
}: {
  draft: Draft;
  edit: (next: Draft) => void;
  models: string[];
  locked: boolean;
}) {
  const set = (next: Partial<Draft>) => edit({ ...draft, ...next });
  const figure = (name: Figure) => (
    <Field key={name} label={FIGURES[name][0]}>
      {(id) => (
        <input
          id={id}
          type="number"
          min={0}
          step={FIGURES[name][1]}
          className={input}
          disabled={locked}
          value={draft.figures[name]}
          placeholder="no limit"
          onChange={(event) => set({ figures: { ...draft.figures, [name]: event.target.value } })}
        />
      )}
    </Field>
  );
  return (
    <div className="space-y-5">
      <Models draft={draft} set={set} models={models} locked={locked} />
      <fieldset>
        <legend className="mb-2 text-sm font-semibold">Spend</legend>
        <div className="grid gap-4 sm:grid-cols-3">
          {(["max_cost_per_day", "max_cost_per_month", "max_cost_per_request"] as const).map(figure)}
        </div>
      </fieldset>
      <fieldset>
        <legend className="mb-2 text-sm font-semibold">Volume</legend>
        <div className="grid gap-4 sm:grid-cols-3">
          {(["max_requests_per_day", "max_requests_per_minute", "max_tokens_per_minute"] as const).map(figure)}
        </div>
      </fieldset>
      <fieldset>
        <legend className="mb-2 text-sm font-semibold">Where callers say nothing</legend>
        <div className="grid gap-4 sm:grid-cols-3">
          {(["default_quality_threshold", "default_latency_budget_ms"] as const).map(figure)}
        </div>
      </fieldset>
      <fieldset>
        <legend className="mb-2 text-sm font-semibold">Data</legend>
        <div className="grid gap-4 sm:grid-cols-3">
          <Choice
            label="Region of models"
            value={draft.residency}
            disabled={locked}
            options={{ "": "anywhere", eu: "EU", us: "US", ap: "Asia-Pacific" }}
            change={(residency) => set({ residency })}
          />
          <Choice
            label="Personal data in prompts"
            value={draft.pii}
            disabled={locked}
            options={{ "": "as the preferences say", off: "let pass", flag: "flag", redact: "redact", block: "refuse" }}
            change={(pii) => set({ pii })}
          />
          <Choice
            label="Prompt injection"
            value={draft.injection}
            disabled={locked}
            options={{ "": "as the preferences say", off: "let pass", log: "log", flag: "flag", block: "refuse" }}
            change={(injection) => set({ injection })}
          />
        </div>
        <div className="mt-3">
          <Switch
            label="Each inference is an entry of the audit log"
            checked={draft.audit}
            disabled={locked}
            change={(audit) => set({ audit })}
          />
        </div>
      </fieldset>
    </div>
  );
}

function Models({
  draft,
  set,
  models,
  locked,
}: {
  draft: Draft;
  set: (next: Partial<Draft>) => void;
  models: string[];
  locked: boolean;
}) {
  const known = [...new Set([...models, ...draft.allowed, ...draft.blocked])];
  const state = (name: string) =>
    draft.blocked.includes(name) ? "blocked" : draft.allowed.includes(name) ? "allowed" : "";
  const choose = (name: string, next: string) => {
    const others = (list: string[]) => list.filter((each) => each !== name);
    set({
      allowed: next === "allowed" ? [...others(draft.allowed), name] : others(draft.allowed),
      blocked: next === "blocked" ? [...others(draft.blocked), name] : others(draft.blocked),
    });
  };
  return (
    <fieldset>
      <legend className="mb-1 text-sm font-semibold">Models</legend>
      <p className="mb-2 text-sm text-muted">
        {draft.allowed.length
          ? "Only the allowed ones may answer."
          : "All may answer but the blocked ones. As soon as one is allowed, only allowed ones may."}
      </p>
      <div className="grid gap-3 sm:grid-cols-2 lg:grid-cols-3">
        {known.map((name) => (
          <Choice
            key={name}
            label={<span className="break-all">{name}</span>}
            value={state(name)}
            disabled={locked}
            options={{ "": "not named", allowed: "allowed", blocked: "blocked" }}
            change={(next) => choose(name, next)}
          />
        ))}
      </div>
    </fieldset>
  );
}
