"use client";

import { useState } from "react";
import { Badge, type Tone } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Modal } from "@/components/modal";
import { Page } from "@/components/page";
import { Empty, Loaded } from "@/components/states";
import { Table } from "@/components/table";
import type { CostRow, Model, ModelRow, Models, Report } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { compact, count, DASH, milliseconds, money, quality, share } from "@/lib/numbers";
import { useCan } from "@/lib/session";

const STATES: Record<string, [Tone, string]> = {
  healthy: ["good", "ok"],
  reachable: ["good", "ok"],
  unknown: ["plain", "not asked yet"],
  degraded: ["warn", "degraded"],
  resting: ["bad", "resting after failures"],
  unreachable: ["bad", "unreachable"],
};
const MOST = 4;
const SORTS: Record<string, (model: Model) => number> = {
  price: (model) => model.cost_per_1k_input_tokens ?? Number.POSITIVE_INFINITY,
  quality: (model) => -model.quality_score,
  latency: (model) => model.measured_latency_ms ?? model.avg_latency_ms,
};

export default function ModelsPage() {
  const found = useAnswer<Models>("/models", {}, { every: 30_000 });
  const used = useAnswer<Report<ModelRow[]>>("/analytics/model-performance", { query: { period: "week" } });
  const paid = useCan("view_cost");
  const tiers = useAnswer<Report<object, { rows: CostRow[] }>>(
    "/analytics/cost-breakdown",
    { query: { period: "week", group_by: "tier" } },
    { enabled: paid },
  );
  const bought = tiers.data?.meta.rows.find((row) => row.tier === "miss");
  const [text, setText] = useState("");
  const [sort, setSort] = useState("price");
  const [chosen, setChosen] = useState<string[]>([]);
  const [comparing, setComparing] = useState(false);
  const rows = new Map(used.data?.data.map((row) => [row.model, row]));
  const total = used.data?.data.reduce((sum, row) => sum + row.requests, 0) ?? 0;
  const choose = (name: string) =>
    setChosen(chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name].slice(-MOST));
  return (
    <Page
      title="Models"
      note="The registry: prices in force, what was measured, and how each provider does. It is changed in the gateway's file."
      actions={
        <>
          <Curl path="/models" />
          <Button kind="primary" disabled={chosen.length < 2} onClick={() => setComparing(true)}>
            Compare {chosen.length || ""}
          </Button>
        </>
      }
    >
      <Loaded
        query={found}
        height="min-h-96"
        isEmpty={(data) => data.count === 0}
        empty={<Empty title="No model is registered">Configure a provider and its models.</Empty>}
      >
        {(data) => {
          const order = SORTS[sort] ?? (() => 0);
          const wanted = text.toLowerCase();
          const shown = data.models
            .filter((model) => `${model.name} ${model.provider} ${model.region}`.toLowerCase().includes(wanted))
            .sort((one, two) => order(one) - order(two));
          return (
            <>
              <div className="mb-4 flex flex-wrap gap-3">
                <Field label="Search" className="w-full sm:w-64">
                  {(id) => (
                    <input
                      id={id}
                      data-search
                      className={input}
                      value={text}
                      placeholder="name, provider, region"
                      onChange={(event) => setText(event.target.value)}
                    />
                  )}
                </Field>
                <Choice
                  label="Sort by"
                  className="w-full sm:w-44"
                  value={sort}
                  options={{ price: "Price", quality: "Quality", latency: "Latency" }}
                  change={setSort}
                />
              </div>
              {shown.length === 0 && (
                <Card>
                  <Empty title="No model matches" />
                </Card>
              )}
              <ul className="grid gap-4 md:grid-cols-2">
                {shown.map((model) => (
                  <li key={model.name} className="min-w-0">
                    <ModelCard
                      model={model}
                      row={rows.get(model.name)}
                      total={total}
                      baseline={data.baseline_model === model.name}
                      bought={bought}
                      chosen={chosen.includes(model.name)}
                      choose={() => choose(model.name)}
                    />
                  </li>
                ))}
              </ul>
              <Modal open={comparing} close={() => setComparing(false)} title="Compare models" drawer>
                <Compared models={data.models.filter((model) => chosen.includes(model.name))} rows={rows} />
              </Modal>
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

/** What the paid requests of seven days would have cost here, at the list prices of their tokens. */
function here(model: Model, bought: CostRow): number | null {
  const { cost_per_1k_input_tokens: input, cost_per_1k_output_tokens: output } = model;
  if (input === null || output === null) return null;
  return (bought.input_tokens * input + bought.output_tokens * output) / 1000;
}

/** Per million tokens, as vendors write them. */
function perMillion(price: number | null): string {
  return price === null ? "unknown" : money(price * 1000);
}

function ModelCard({
  model,
  row,
  total,
  baseline,
  bought,
  chosen,
  choose,
}: {
  model: Model;
  row: ModelRow | undefined;
  total: number;
  baseline: boolean;
  bought: CostRow | undefined;
  chosen: boolean;
  choose: () => void;
}) {
  const [tone, state] = STATES[model.provider_state] ?? ["plain", model.provider_state];
  const tasks = Object.entries(model.task_quality);
  const embeds = model.capabilities.includes("embeddings");
  return (
    <Card
      className="h-full"
      title={<span className="break-all">{model.name}</span>}
      note={`${model.provider}${model.region ? `, ${model.region.toUpperCase()}` : ", region unknown"}`}
      actions={
        <label className="flex min-h-8 items-center gap-2 text-sm">
          <input type="checkbox" className="size-6 accent-(--accent-ink)" checked={chosen} onChange={choose} />
          <span aria-hidden="true">compare</span>
          <span className="sr-only">Compare {model.name}</span>
        </label>
      }
    >
      <p className="mb-3 flex flex-wrap gap-2">
        <Badge tone={tone}>{state}</Badge>
        {model.availability !== "available" && <Badge tone="warn">{model.availability}</Badge>}
        {baseline && <Badge tone="accent">baseline</Badge>}
        {model.capabilities.map((each) => (
          <Badge key={each}>{each.replaceAll("_", " ")}</Badge>
        ))}
      </p>
      <dl className="tabular grid grid-cols-2 gap-3 text-sm sm:grid-cols-3">
        {[
          ["In, per 1M tokens", perMillion(model.cost_per_1k_input_tokens)],
          ["Out, per 1M tokens", embeds ? DASH : perMillion(model.cost_per_1k_output_tokens)],
          ["Context", `${compact(model.max_input_tokens)}${embeds ? "" : ` + ${compact(model.max_output_tokens)}`}`],
          ["Quality of 5", embeds ? DASH : quality(model.quality_score)],
          [
            "First token",
            model.measured_latency_ms === null
              ? `${milliseconds(model.avg_latency_ms)}, by its maker`
              : `${milliseconds(model.measured_latency_ms)}, measured`,
          ],
          ["Of 7 days' traffic", row && total ? `${share(row.requests / total)} (${count(row.requests)})` : "none"],
        ].map(([name, value]) => (
          <div key={name} className="min-w-0">
            <dt className="text-xs text-muted">{name}</dt>
            <dd className="break-words font-medium">{value}</dd>
          </div>
        ))}
      </dl>
      <p className="mt-3 text-xs text-muted">
        {model.price_known
          ? `Price from ${model.price_source ?? "an unknown source"}, ${model.price_version}.`
          : "Price unknown: it is never counted as zero."}
        {row?.p95 !== null && row?.p95 !== undefined && ` p95 ${milliseconds(row.p95)} over 7 days.`}
        {row?.error_rate ? ` ${share(row.error_rate)} failed.` : ""}
      </p>
      {bought && bought.requests > 0 && !embeds && (
        <p className="tabular mt-1 text-xs text-muted">
          Had all that was paid for in 7 days gone here: <strong>{money(here(model, bought))}</strong> instead of{" "}
          {money(bought.cost)}, at list prices.
        </p>
      )}
      {tasks.length > 0 && (
        <p className="mt-1 text-xs text-muted">
          {tasks.map(([task, score]) => `${task.replaceAll("_", " ")} ${quality(score)}`).join(", ")}
        </p>
      )}
    </Card>
  );
}

function Compared({ models, rows }: { models: Model[]; rows: Map<string, ModelRow> }) {
  const lines: [string, (model: Model) => string][] = [
    ["Provider", (model) => model.provider],
    ["In, per 1M tokens", (model) => perMillion(model.cost_per_1k_input_tokens)],
    ["Out, per 1M tokens", (model) => perMillion(model.cost_per_1k_output_tokens)],
    ["Quality of 5", (model) => quality(model.quality_score)],
    ["First token", (model) => milliseconds(model.measured_latency_ms ?? model.avg_latency_ms)],
    ["Context", (model) => compact(model.max_input_tokens)],
    ["Output", (model) => compact(model.max_output_tokens)],
    ["Region", (model) => model.region ?? "unknown"],
    ["Requests, 7 days", (model) => count(rows.get(model.name)?.requests ?? 0)],
    ["Quality, 7 days", (model) => quality(rows.get(model.name)?.avg_quality)],
    ["p95, 7 days", (model) => milliseconds(rows.get(model.name)?.p95)],
  ];
  return (
    <Table
      caption="Models side by side"
      rows={lines}
      id={(line) => line[0]}
      columns={[
        { name: "Figure", cell: (line) => <span className="text-muted">{line[0]}</span> },
        ...models.map((model) => ({
          name: model.name,
          right: true,
          cell: (line: (typeof lines)[number]) => line[1](model),
        })),
      ]}
    />
  );
}
