"use client";

import { HandThumbDownIcon, HandThumbUpIcon } from "@heroicons/react/24/outline";
import { useMutation } from "@tanstack/react-query";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Copy } from "@/components/copy";
import { Refused, Skeleton } from "@/components/states";
import { Table } from "@/components/table";
import { useTell } from "@/components/toast";
import type { Reply } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { count, milliseconds, money, percent, quality } from "@/lib/numbers";

export interface Run {
  id: number;
  body: Record<string, unknown>;
  dry: boolean;
  text: string;
  state: "running" | "done" | "stopped" | "failed";
  reply: Reply | null;
  error: ApiError | null;
}

/** One answer as it comes in, with what it cost and why. */
export function Result({ run, why }: { run: Run; why: (id: string) => void }) {
  const { reply } = run;
  const mode = String(run.body.routing_mode);
  const named = run.body.model ? `, ${String(run.body.model)}` : "";
  return (
    <Card
      title={run.dry ? "What would happen" : "Answer"}
      note={`${mode}${named}: ${String(run.body.prompt).slice(0, 80)}`}
      actions={run.text ? <Copy text={run.text} label="Copy the answer" shown="Copy" /> : undefined}
    >
      {run.text && (
        <div className="mb-4 max-h-96 overflow-auto whitespace-pre-wrap break-words rounded-lg bg-surface p-3 text-sm">
          {run.text}
        </div>
      )}
      {run.state === "running" && !run.text && <Skeleton className="h-24" />}
      {run.state === "stopped" && (
        <p className="text-sm text-muted">Stopped. What was written so far is charged by the provider.</p>
      )}
      {run.error && <Problem error={run.error} />}
      {reply && <Told reply={reply} dry={run.dry} why={why} />}
    </Card>
  );
}

function Problem({ error }: { error: ApiError }) {
  const { limit, used, resets_at: resets } = error.details as Record<string, string | number | undefined>;
  return (
    <>
      <Refused error={error} />
      {limit !== undefined && (
        <p className="text-center text-sm text-muted">
          Limit {String(limit)}, used {String(used)}
          {resets ? `, again from ${new Date(String(resets)).toLocaleString()}` : ""}.
        </p>
      )}
    </>
  );
}

function Told({ reply, dry, why }: { reply: Reply; dry: boolean; why: (id: string) => void }) {
  const tier = reply.cache_hit
    ? `hit, tier ${reply.cache_tier}`
    : reply.cache_tier
      ? `partly, tier ${reply.cache_tier}`
      : "miss";
  const similar =
    typeof reply.cache.similarity === "number" ? ` (similarity ${reply.cache.similarity.toFixed(3)})` : "";
  const saved = reply.cost_savings_percent;
  return (
    <div className="space-y-4">
      <dl className="tabular grid grid-cols-2 gap-3 text-sm sm:grid-cols-3">
        {[
          ["Model", reply.model_used],
          [dry ? "Would cost" : "Cost", money(reply.cost)],
          ["Saved", `${money(reply.saved)}${saved === null || saved === undefined ? "" : ` (${percent(saved)})`}`],
          ["Cache", dry ? "not asked" : tier + similar],
          ["Quality, predicted", quality(reply.predicted_quality)],
          ["Latency", dry ? "–" : milliseconds(reply.latency_ms)],
          ["First token", dry ? "–" : milliseconds(reply.ttft_ms)],
          ["Tokens", `${count(reply.tokens_input)} + ${count(reply.tokens_output)}`],
          ["Task", reply.task_type_detected],
        ].map(([name, value]) => (
          <div key={name} className="min-w-0">
            <dt className="text-xs text-muted">{name}</dt>
            <dd className="break-words font-medium">{value}</dd>
          </div>
        ))}
      </dl>
      <p className="text-sm">
        <span className="text-muted">Why: </span>
        {reply.routing_reason || "no reason was given"}
      </p>
      {(reply.fallback_used || reply.relaxed.length > 0 || reply.warnings.length > 0) && (
        <p className="flex flex-wrap gap-2">
          {reply.fallback_used && <Badge tone="warn">another model than the first choice answered</Badge>}
          {reply.relaxed.map((each) => (
            <Badge key={each} tone="warn">
              {each} relaxed
            </Badge>
          ))}
          {reply.warnings.map((each) => (
            <Badge key={each} tone="warn">
              {each.replaceAll("_", " ")}
            </Badge>
          ))}
        </p>
      )}
      {reply.alternatives.length > 0 && (
        <Table
          caption="Other models that might have answered"
          id={(row) => row.model}
          rows={[...reply.alternatives]}
          columns={[
            { name: "Alternative", cell: (row) => row.model },
            { name: "Cost", right: true, cell: (row) => money(row.estimated_cost) },
            { name: "Quality", right: true, cell: (row) => quality(row.estimated_quality) },
            { name: "Latency", right: true, cell: (row) => milliseconds(row.estimated_latency_ms) },
            { name: "Saves", right: true, cell: (row) => percent(row.savings_percent) },
          ]}
        />
      )}
      {!dry && <Judge reply={reply} why={why} />}
    </div>
  );
}

function Judge({ reply, why }: { reply: Reply; why: (id: string) => void }) {
  const tell = useTell();
  const feedback = useMutation<void, ApiError, object>({
    mutationFn: (judged) => request("POST", "/feedback", { body: { request_id: reply.request_id, ...judged } }),
    onSuccess: () => tell("Noted"),
    onError: (error) => tell(error.message, "bad"),
  });
  return (
    <div className="flex flex-wrap items-center gap-2 border-t border-line pt-4">
      <Button onClick={() => why(reply.request_id)}>Why this answer</Button>
      <Button
        size="icon"
        aria-label="Good answer"
        disabled={feedback.isPending}
        onClick={() => feedback.mutate({ thumb: "up" })}
      >
        <HandThumbUpIcon aria-hidden="true" className="size-5" />
      </Button>
      <Button
        size="icon"
        aria-label="Bad answer"
        disabled={feedback.isPending}
        onClick={() => feedback.mutate({ thumb: "down" })}
      >
        <HandThumbDownIcon aria-hidden="true" className="size-5" />
      </Button>
      {reply.cache_hit && (
        <Button kind="danger" disabled={feedback.isPending} onClick={() => feedback.mutate({ cache_wrong: true })}>
          Wrong cache hit
        </Button>
      )}
    </div>
  );
}
