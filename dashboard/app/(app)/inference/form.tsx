"use client";

import { PlayIcon, StopIcon } from "@heroicons/react/24/outline";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input, Switch } from "@/components/field";
import type { Models } from "@/lib/answers";
import { cn } from "@/lib/cn";
import { count } from "@/lib/numbers";
import { bodyOf, type Draft, EMPTY, MODES } from "./asking";

const USUAL = 5_000;
const MOST = 100_000;

export function InferenceForm({
  draft,
  edit,
  models,
  busy,
  run,
  ask,
  stop,
}: {
  draft: Draft;
  edit: (next: Draft) => void;
  models: Models | undefined;
  busy: boolean;
  run: () => void;
  ask: () => void;
  stop: () => void;
}) {
  const set = (next: Partial<Draft>) => edit({ ...draft, ...next });
  const names = (models?.models ?? []).filter((each) => !each.capabilities.includes("embeddings"));
  const missing = !draft.prompt.trim() || (draft.mode === "explicit" && !draft.model);
  const long = draft.prompt.length > MOST;
  return (
    <Card>
      <form
        className="space-y-5"
        onSubmit={(event) => {
          event.preventDefault();
          run();
        }}
      >
        <Mode draft={draft} set={set} />
        {draft.mode === "guided" && (
          <div className="grid gap-4 sm:grid-cols-2">
            <Choice
              label="Quality"
              value={draft.quality}
              options={{ low: "Low", medium: "Medium", high: "High", max: "The best there is" }}
              change={(quality) => set({ quality })}
            />
            <Choice
              label="Latency"
              value={draft.latency}
              options={{ slow: "Slow is fine", normal: "Normal", fast: "Fast", instant: "Instant" }}
              change={(latency) => set({ latency })}
            />
          </div>
        )}
        {draft.mode === "explicit" && (
          <Choice
            label="Model"
            value={draft.model}
            options={{
              "": models ? "Choose a model" : "Loading…",
              ...Object.fromEntries(names.map((each) => [each.name, `${each.name} (${each.provider})`])),
            }}
            change={(model) => set({ model })}
          />
        )}
        <Field
          label="Prompt"
          hint={
            <span className="tabular">
              {count(draft.prompt.length)} of {count(draft.prompt.length > USUAL ? MOST : USUAL)} characters, about{" "}
              {count(Math.ceil(draft.prompt.length / 4))} tokens
            </span>
          }
          error={long ? `At most ${count(MOST)} characters.` : null}
        >
          {(id, told) => (
            <textarea
              id={id}
              rows={5}
              data-search
              className={input}
              value={draft.prompt}
              aria-describedby={told}
              placeholder="Ask something"
              onChange={(event) => set({ prompt: event.target.value })}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !missing && !long) run();
              }}
            />
          )}
        </Field>
        <Advanced draft={draft} set={set} tasks={models?.task_types ?? []} />
        <div className="flex flex-wrap gap-2">
          {busy ? (
            <Button kind="danger" onClick={stop}>
              <StopIcon aria-hidden="true" className="size-4" /> Stop
            </Button>
          ) : (
            <Button type="submit" kind="primary" disabled={missing || long} title="Ctrl+Enter">
              <PlayIcon aria-hidden="true" className="size-4" /> Run
            </Button>
          )}
          <Button
            disabled={busy || missing || long}
            onClick={ask}
            title="Decides without asking anybody; costs nothing"
          >
            What would happen
          </Button>
          <Button kind="quiet" onClick={() => edit(EMPTY)}>
            Clear
          </Button>
          <Curl method="POST" path="/infer" call={{ body: bodyOf(draft) }} />
        </div>
      </form>
    </Card>
  );
}

function Mode({ draft, set }: { draft: Draft; set: (next: Partial<Draft>) => void }) {
  return (
    <fieldset>
      <legend className="mb-2 text-sm font-medium">Mode</legend>
      <div className="grid gap-2">
        {Object.entries(MODES).map(([mode, told]) => (
          <label
            key={mode}
            className={cn(
              "flex cursor-pointer items-start gap-3 rounded-lg border p-3",
              draft.mode === mode ? "border-accent-ink bg-accent-soft" : "border-line",
            )}
          >
            <input
              type="radio"
              name="mode"
              value={mode}
              checked={draft.mode === mode}
              className="mt-0.5 size-5 shrink-0 accent-(--accent-ink)"
              onChange={() => set({ mode: mode as Draft["mode"] })}
            />
            <span className="text-sm">
              <span className="font-medium capitalize">{mode}</span>
              <span className="block text-muted">{told}</span>
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Advanced({ draft, set, tasks }: { draft: Draft; set: (next: Partial<Draft>) => void; tasks: string[] }) {
  const figure = (name: keyof Draft, label: string, hint: string, step: string, least: number, most: number) => (
    <Field label={label} hint={hint}>
      {(id, told) => (
        <input
          id={id}
          type="number"
          step={step}
          min={least}
          max={most}
          className={input}
          aria-describedby={told}
          value={String(draft[name])}
          placeholder="not said"
          onChange={(event) => set({ [name]: event.target.value })}
        />
      )}
    </Field>
  );
  const text = (name: "system" | "document", label: string) => (
    <Field label={label}>
      {(id) => (
        <textarea
          id={id}
          rows={3}
          className={input}
          value={draft[name]}
          onChange={(event) => set({ [name]: event.target.value })}
        />
      )}
    </Field>
  );
  return (
    <details className="rounded-lg border border-line p-3">
      <summary className="min-h-6 text-sm font-medium">Advanced options</summary>
      <div className="mt-4 space-y-4">
        <div className="grid gap-4 sm:grid-cols-2">
          {figure("threshold", "Quality of at least", "0 to 5, predicted", "0.1", 0, 5)}
          {figure("budgetMs", "First token within", "50 to 30,000 milliseconds", "50", 50, 30_000)}
          {figure("costBudget", "Cost of at most", "dollars for this request", "any", 0, 10_000)}
          {figure("similarity", "Similarity of at least", "0.5 to 1, may only raise the bar", "0.01", 0.5, 1)}
          {figure("maxTokens", "Tokens of at most", "1,024 when not said", "1", 1, 1_000_000)}
          <Choice
            label="Task"
            value={draft.task}
            options={{ "": "Detected", ...Object.fromEntries(tasks.map((each) => [each, each.replaceAll("_", " ")])) }}
            change={(task) => set({ task })}
          />
          <Choice
            label="Caches"
            value={draft.cache}
            options={{ on: "Read and write", refresh: "Write only", off: "Neither" }}
            change={(cache) => set({ cache })}
          />
        </div>
        <div className="grid gap-3 sm:grid-cols-2">
          <Switch label="Semantic cache" checked={draft.semantic} change={(semantic) => set({ semantic })} />
          <Switch
            label="Intermediate cache"
            checked={draft.intermediate}
            change={(intermediate) => set({ intermediate })}
          />
        </div>
        {text("system", "System prompt")}
        {text("document", "Document")}
      </div>
    </details>
  );
}
