"use client";

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "@/components/button";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Modal } from "@/components/modal";
import { useTell } from "@/components/toast";
import type { RuleRow } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useCan } from "@/lib/session";
import { METRICS, minutes, SCOPES } from "./metrics";
import { Preview } from "./preview";

const WINDOWS = [5, 15, 30, 60, 180, 360, 1440, 10_080, 43_200];
const HOLDS = [0, 5, 10, 30, 60, 180, 720];

interface Draft {
  name: string;
  metric: string;
  scope: string;
  subject: string;
  direction: string;
  threshold: string;
  window: string;
  hold: string;
  severity: string;
  least: string;
  enabled: boolean;
}

function draftOf(row: RuleRow | null, money: boolean): Draft {
  if (row === null) {
    const metric = money ? "cost" : "error_rate";
    return {
      name: "",
      metric,
      scope: "org",
      subject: "",
      direction: "over",
      threshold: METRICS[metric]?.usual ?? "1",
      window: "60",
      hold: "0",
      severity: "warning",
      least: "",
      enabled: true,
    };
  }
  const per = METRICS[row.metric]?.per ?? 1;
  return {
    ...row,
    subject: row.subject ?? "",
    threshold: String(Number(((row.threshold ?? 0) * per).toPrecision(12))),
    window: String(row.window_minutes),
    hold: String(row.for_minutes),
    least: String(row.min_requests),
  };
}

/** A rule as it is sent. */
export function bodyOf(row: RuleRow): Record<string, unknown> {
  const { name, metric, scope, direction, threshold, window_minutes, for_minutes, severity, min_requests } = row;
  const subject = row.subject ? { subject: row.subject } : {};
  return {
    name,
    metric,
    scope,
    direction,
    threshold,
    window_minutes,
    for_minutes,
    severity,
    min_requests,
    enabled: row.enabled,
    ...subject,
  };
}

function conditionOf(draft: Draft): Record<string, unknown> {
  return {
    metric: draft.metric,
    scope: draft.scope,
    direction: draft.direction,
    threshold: Number((Number(draft.threshold) / (METRICS[draft.metric]?.per ?? 1)).toPrecision(12)),
    window_minutes: Number(draft.window),
    for_minutes: Number(draft.hold),
    ...(draft.scope === "org" ? {} : { subject: draft.subject.trim() }),
    ...(draft.least.trim() === "" ? {} : { min_requests: Number(draft.least) }),
  };
}

/** Makes a rule, or changes one, and shows meanwhile what it would have said. */
export function RuleForm({
  row,
  close,
  saved,
}: {
  row: RuleRow | null;
  close: () => void;
  saved: () => Promise<void>;
}) {
  const tell = useTell();
  const money = useCan("view_cost");
  const [draft, setDraft] = useState(() => draftOf(row, money));
  const set = (change: Partial<Draft>) => setDraft((before) => ({ ...before, ...change }));
  const metric = METRICS[draft.metric];
  const condition = conditionOf(draft);
  const body = { ...condition, name: draft.name.trim(), severity: draft.severity, enabled: draft.enabled };
  const whole = Number(draft.threshold) > 0 && (draft.scope === "org" || draft.subject.trim() !== "");
  const call = row ? { params: { rule_id: row.rule_id }, body } : { body };
  const [method, path] = row ? (["PUT", "/alerts/rules/{rule_id}"] as const) : (["POST", "/alerts/rules"] as const);
  const save = useMutation<RuleRow, ApiError>({
    mutationFn: () => request(method, path, call),
    onSuccess: async () => {
      tell("Saved");
      await saved();
    },
  });
  const choose = (name: string) => {
    const next = METRICS[name];
    const scope = next?.scopes.includes(draft.scope) ? draft.scope : "org";
    set({ metric: name, scope, threshold: next?.usual ?? "1", direction: name === "hit_rate" ? "under" : "over" });
  };
  return (
    <Modal open close={close} title={row ? "Change a rule" : "Make a rule"}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <Field label="Name">
          {(id) => (
            <input
              id={id}
              required
              maxLength={80}
              className={input}
              value={draft.name}
              onChange={(event) => set({ name: event.target.value })}
            />
          )}
        </Field>
        <div className="grid gap-4 sm:grid-cols-2">
          <Choice
            label="Metric"
            value={draft.metric}
            options={Object.fromEntries(
              Object.entries(METRICS)
                .filter(([name]) => money || (name !== "cost" && name !== "budget_share"))
                .map(([name, each]) => [name, each.name]),
            )}
            change={choose}
          />
          <Choice
            label="Of"
            value={draft.scope}
            options={Object.fromEntries((metric?.scopes ?? []).map((name) => [name, SCOPES[name] ?? name]))}
            change={(scope) => set({ scope })}
          />
        </div>
        {draft.scope !== "org" && (
          <Field label={draft.scope === "key" ? "Key id" : `Name of the ${draft.scope}`}>
            {(id) => (
              <input
                id={id}
                required
                maxLength={200}
                className={input}
                value={draft.subject}
                onChange={(event) => set({ subject: event.target.value })}
              />
            )}
          </Field>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <Choice
            label="When it is"
            value={draft.direction}
            options={{ over: "at or over", under: "under" }}
            change={(direction) => set({ direction })}
          />
          <Field label={`Threshold, ${metric?.unit}`}>
            {(id) => (
              <input
                id={id}
                type="number"
                required
                min="0.000001"
                step="any"
                className={input}
                value={draft.threshold}
                onChange={(event) => set({ threshold: event.target.value })}
              />
            )}
          </Field>
          {draft.metric !== "budget_share" && (
            <Choice
              label="Looked at over"
              value={draft.window}
              options={told(WINDOWS, draft.window, "")}
              change={(window) => set({ window })}
            />
          )}
          <Choice
            label="And held for"
            value={draft.hold}
            options={told(HOLDS, draft.hold, "at once")}
            change={(hold) => set({ hold })}
          />
          <Choice
            label="Severity"
            value={draft.severity}
            options={{ warning: "warning", critical: "critical" }}
            change={(severity) => set({ severity })}
          />
          <Field label="Requests needed" hint={metric?.rate ? "20 if left empty" : "none if left empty"}>
            {(id, described) => (
              <input
                id={id}
                type="number"
                min="0"
                step="1"
                className={input}
                aria-describedby={described}
                value={draft.least}
                onChange={(event) => set({ least: event.target.value })}
              />
            )}
          </Field>
        </div>
        <Preview condition={whole ? condition : null} metric={metric} />
        {save.error && (
          <p role="alert" className="rounded-lg bg-bad-soft px-3 py-2 text-sm text-bad">
            {save.error.message}
          </p>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Curl method={method} path={path} call={call} />
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={save.isPending || !whole}>
            {save.isPending ? "Saving…" : "Save rule"}
          </Button>
        </div>
      </form>
    </Modal>
  );
}

function told(usual: number[], now: string, none: string): Record<string, string> {
  const all = [...new Set([...usual, Number(now)])].sort((one, other) => one - other);
  return Object.fromEntries(all.map((each) => [String(each), each === 0 ? none : minutes(each)]));
}
