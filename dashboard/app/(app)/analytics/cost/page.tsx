"use client";

import { Badge } from "@/components/badge";
import { buttonStyle } from "@/components/button";
import { Card } from "@/components/card";
import { Bars } from "@/components/charts";
import { Curl } from "@/components/curl";
import { First } from "@/components/delta";
import { Choice } from "@/components/field";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Empty, Loaded } from "@/components/states";
import { Table } from "@/components/table";
import type { Breakdown, CostRow, Report, Savings } from "@/lib/answers";
import { type Query, urlOf } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { cn } from "@/lib/cn";
import { change as changeOf, compact, count, cut, money, share, time } from "@/lib/numbers";
import { rangeQuery, useQueryState, useRange } from "@/lib/range";

const BY = {
  model: "Model",
  task_type: "Task",
  user: "User",
  key: "Key",
  tier: "Cache tier",
  agent_type: "Agent type",
};
const TOP = 8;

export default function Cost() {
  const [range, change] = useRange();
  const [asked, ask] = useQueryState();
  const by = asked.get("by") ?? "model";
  const then = asked.get("sub") ?? "";
  const query = { ...rangeQuery(range), group_by: by, subgroup: then, compare: "previous" };
  const found = useAnswer<Breakdown>(
    "/analytics/cost-breakdown",
    { query },
    { every: 30_000, same: ["group_by", "subgroup"] },
  );
  return (
    <Page title="Cost" note="What was paid, and for what." actions={<RangePicker range={range} change={change} />}>
      <Card
        title="Breakdown"
        actions={
          <>
            <a
              className={cn(buttonStyle({ size: "small" }))}
              href={urlOf("/analytics/cost-breakdown", { query: { ...query, format: "csv" } })}
              download
            >
              Export CSV
            </a>
            <Curl path="/analytics/cost-breakdown" call={{ query }} />
          </>
        }
      >
        <div className="mb-4 flex flex-wrap gap-3">
          <Choice
            label="By"
            className="w-full sm:w-44"
            value={by}
            options={BY}
            change={(next) => ask({ by: next, sub: null })}
          />
          <Choice
            label="Then by"
            className="w-full sm:w-44"
            value={then}
            options={{ "": "nothing", ...Object.fromEntries(Object.entries(BY).filter(([name]) => name !== by)) }}
            change={(next) => ask({ sub: next })}
          />
        </div>
        <Loaded
          query={found}
          height="min-h-96"
          isEmpty={({ meta }) => meta.rows.length === 0}
          empty={<First range={range.name} />}
        >
          {({ data, meta }) => (
            <>
              <Chart data={data} />
              <Rows rows={meta.rows} by={by} then={then} />
            </>
          )}
        </Loaded>
      </Card>
      <Saved query={rangeQuery(range)} />
    </Page>
  );
}

function Chart({ data }: { data: Record<string, number | null> }) {
  const all = Object.entries(data).filter(([, cost]) => cost);
  const top = all.slice(0, TOP).map(([at, cost]) => ({ at, cost }));
  const rest = all.slice(TOP).reduce((sum, [, cost]) => sum + (cost ?? 0), 0);
  const shown = rest ? [...top, { at: `Other (${all.length - TOP})`, cost: rest }] : top;
  if (!shown.length) return <Empty title="Nothing was paid in this range" />;
  return (
    <Bars named title="Cost" data={shown} series={[{ key: "cost", name: "Cost" }]} format={(value) => money(value)} />
  );
}

function Rows({ rows, by, then }: { rows: CostRow[]; by: string; then: string }) {
  // What has no price is said first: it is missing from every sum.
  const sorted = [...rows].sort((one, two) => Number(two.unpriced > 0) - Number(one.unpriced > 0));
  const name = (row: CostRow) => [row[by], then && row[then]].filter(Boolean).map(String).join(" / ");
  return (
    <div className="mt-4">
      <Table
        caption="Cost by group"
        rows={sorted}
        id={name}
        columns={[
          {
            name: BY[by as keyof typeof BY] ?? "Group",
            cell: (row) => (
              <span title={name(row)} className="inline-flex flex-wrap items-center gap-2">
                {cut(name(row))}
                {row.unpriced > 0 && <Badge tone="warn">{count(row.unpriced)} of unknown price</Badge>}
              </span>
            ),
          },
          { name: "Cost", right: true, cell: (row) => money(row.cost) },
          { name: "Share", right: true, cell: (row) => share(row.share) },
          {
            name: "Against before",
            right: true,
            cell: (row) => {
              const moved = changeOf(row.cost, row.previous_cost);
              return moved === null ? "–" : `${moved > 0 ? "+" : ""}${moved.toFixed(1)} %`;
            },
          },
          { name: "Requests", right: true, cell: (row) => count(row.requests) },
          { name: "A request", right: true, wide: true, cell: (row) => money(row.avg_cost, "–") },
          { name: "Tokens in", right: true, wide: true, cell: (row) => compact(row.input_tokens) },
          { name: "Tokens out", right: true, wide: true, cell: (row) => compact(row.output_tokens) },
          { name: "Saved", right: true, cell: (row) => money(row.saved) },
        ]}
      />
    </div>
  );
}

function Saved({ query }: { query: Query }) {
  const found = useAnswer<Report<Savings>>("/analytics/savings", { query }, { every: 30_000 });
  return (
    <Card
      title="Savings and their proof"
      note="Saved = what the baseline model would have asked, less what was paid, less overhead."
      actions={<Curl path="/analytics/savings" call={{ query }} />}
    >
      <Loaded query={found} height="min-h-48">
        {({ data }) => {
          const techniques = Object.entries(data.saved_by).sort((one, two) => two[1] - one[1]);
          return (
            <div className="tabular space-y-4 text-sm">
              <p>
                {money(data.baseline_cost)} baseline − {money(data.cost)} paid − {money(data.overhead_cost)} overhead ={" "}
                <strong>{money(data.saved)} saved</strong>
                {data.unpriced_requests > 0 &&
                  `; ${count(data.unpriced_requests)} requests of unknown price are in none of it`}
                .
              </p>
              {techniques.length > 0 && (
                <Table
                  caption="Savings by technique"
                  rows={techniques}
                  id={(row) => row[0]}
                  columns={[
                    { name: "Technique", cell: (row) => row[0].replaceAll("_", " ") },
                    { name: "Saved", right: true, cell: (row) => money(row[1]) },
                    { name: "Share", right: true, cell: (row) => (data.saved ? share(row[1] / data.saved) : "–") },
                  ]}
                />
              )}
              <p className="text-muted">
                {data.causal
                  ? `Measured on the ${count(data.causal.compared)} requests that may be compared, against ${count(data.causal.held_out)} held out: ${money(data.causal.saved)} saved (95 % between ${money(data.causal.low)} and ${money(data.causal.high)}).`
                  : "No request is held out for a measured comparison (savings.holdout_rate)."}{" "}
                The ledger has {count(data.ledger.size)} entries
                {data.ledger.root && `, ending in ${data.ledger.root.slice(0, 12)}…`}
                {data.ledger.verified_at
                  ? `, verified ${time(data.ledger.verified_at)}`
                  : ", not verified by this process yet"}
                .
              </p>
            </div>
          );
        }}
      </Loaded>
    </Card>
  );
}
