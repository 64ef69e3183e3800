"use client";

import { Card, Figure } from "@/components/card";
import { Bars, Dots } from "@/components/charts";
import { Curl } from "@/components/curl";
import { First } from "@/components/delta";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Empty, Loaded } from "@/components/states";
import { Table } from "@/components/table";
import type { CachePerformance, ModelRow, Percentiles, Report, Savings, TrendPoint } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { Link } from "@/lib/nav";
import { count, milliseconds, money, quality, share } from "@/lib/numbers";
import { type Range, rangeQuery, useRange } from "@/lib/range";
import { useCan } from "@/lib/session";

const OTHERS = 5;

export default function Analytics() {
  const [range, change] = useRange();
  const paid = useCan("view_cost");
  const query = rangeQuery(range);
  const models = useAnswer<Report<ModelRow[]>>("/analytics/model-performance", { query }, { every: 30_000 });
  return (
    <Page title="Analytics" actions={<RangePicker range={range} change={change} />}>
      {paid && <Insights query={query} models={models.data?.data ?? []} />}
      <Card title={paid ? "Cost by model over time" : "Requests by model over time"}>
        <ByModel range={range} metric={paid ? "cost" : "requests"} />
      </Card>
      <Card title="Models" actions={<Curl path="/analytics/model-performance" call={{ query }} />}>
        <Loaded
          query={models}
          height="min-h-48"
          isEmpty={({ data }) => data.length === 0}
          empty={<First range={range.name} />}
        >
          {({ data }) => <ModelTable rows={data} />}
        </Loaded>
      </Card>
      <div className="grid gap-4 lg:grid-cols-2">
        {paid && (
          <Card title="Quality against cost" note="Higher is better, further left is cheaper a request">
            <Loaded query={models} height="min-h-64">
              {({ data }) => <QualityCost rows={data} />}
            </Loaded>
          </Card>
        )}
        <Card title="Latency of answers">
          <Latency query={query} />
        </Card>
        <Card title="Hit rate: last day, 7 days, 30 days" className={paid ? "lg:col-span-2" : undefined}>
          <HitRates />
        </Card>
      </div>
    </Page>
  );
}

function Insights({ query, models }: { query: Record<string, unknown>; models: ModelRow[] }) {
  const savings = useAnswer<Report<Savings>>("/analytics/savings", { query: query as never }, { every: 30_000 });
  const caches = useAnswer<Report<CachePerformance>>("/analytics/cache-performance", { query: query as never });
  const judged = models.filter((row) => row.avg_quality !== null && row.requests);
  const best = judged.sort((one, two) => (two.avg_quality ?? 0) - (one.avg_quality ?? 0))[0];
  return (
    <Loaded query={savings} height="min-h-28">
      {({ data }) => (
        <div className="grid gap-4 sm:grid-cols-3">
          <Figure name="Saved in this range" value={money(data.saved)}>
            of {money(data.baseline_cost)}. <More href="/analytics/cost/">By technique</More>
          </Figure>
          <Figure name="Cache hit rate" value={caches.data ? share(caches.data.data.overall_hit_rate) : "–"}>
            <More href="/cache/">What each tier does</More>
          </Figure>
          <Figure name="Best model" value={<span className="break-all text-lg">{best?.model ?? "–"}</span>}>
            {best
              ? `quality ${quality(best.avg_quality)} (${best.quality_source}, ${count(best.quality_samples)} answers). `
              : "Nothing was judged or predicted. "}
            <More href="/models/">All models</More>
          </Figure>
        </div>
      )}
    </Loaded>
  );
}

function More({ href, children }: { href: string; children: string }) {
  return (
    <Link href={href} className="text-accent-ink underline underline-offset-2">
      {children}
    </Link>
  );
}

function ByModel({ range, metric }: { range: Range; metric: "cost" | "requests" }) {
  const bounded = range.name === "custom" || range.name === "90d";
  const periods: Record<string, [string, number]> = { "24h": ["hour", 24], "7d": ["day", 7], "30d": ["day", 30] };
  const [period, intervals] = periods[range.name] ?? ["day", 45];
  const query = bounded
    ? { ...rangeQuery(range), metric, split_by: "model", intervals: 45 }
    : { metric, split_by: "model", period, intervals, tz: range.tz };
  const found = useAnswer<Report<TrendPoint[]>>("/analytics/trends", { query }, { every: 30_000 });
  return (
    <Loaded query={found} height="min-h-72">
      {({ data }) => {
        const sums = new Map<string, number>();
        for (const point of data) {
          for (const [name, value] of Object.entries(point.by ?? {}))
            sums.set(name, (sums.get(name) ?? 0) + (value ?? 0));
        }
        const names = [...sums]
          .filter(([, sum]) => sum)
          .sort((one, two) => two[1] - one[1])
          .map(([name]) => name);
        if (!names.length) return <Empty title="No request in this range" />;
        const first = names.slice(0, OTHERS);
        const points = data.map((point) => {
          const row: Record<string, string | number | boolean | undefined> = {
            at: point.timestamp,
            partial: point.partial,
          };
          for (const name of first) row[name] = point.by?.[name] ?? 0;
          if (names.length > OTHERS) {
            row.Other = names.slice(OTHERS).reduce((sum, name) => sum + (point.by?.[name] ?? 0), 0);
          }
          return row;
        });
        const series = [...first, ...(names.length > OTHERS ? ["Other"] : [])].map((name) => ({ key: name, name }));
        return (
          <Bars
            title={`${metric} by model over time`}
            data={points}
            series={series}
            format={metric === "cost" ? (value) => money(value) : count}
          />
        );
      }}
    </Loaded>
  );
}

function ModelTable({ rows }: { rows: ModelRow[] }) {
  const total = rows.reduce((sum, row) => sum + row.requests, 0);
  return (
    <Table
      caption="Models in this range"
      rows={rows}
      id={(row) => row.model}
      columns={[
        {
          name: "Model",
          cell: (row) =>
            row.model === "(none)" ? (
              <span className="text-muted" title="Refused, or failed, before a model was asked">
                no model asked
              </span>
            ) : (
              row.model
            ),
        },
        { name: "Requests", right: true, cell: (row) => count(row.requests) },
        { name: "Share", right: true, cell: (row) => (total ? share(row.requests / total) : "–") },
        { name: "Cost", right: true, cell: (row) => money(row.cost) },
        {
          name: "A request",
          right: true,
          wide: true,
          cell: (row) => (row.cost === null || !row.requests ? "–" : money(row.cost / row.requests)),
        },
        { name: "p50", right: true, wide: true, cell: (row) => milliseconds(row.p50) },
        { name: "p95", right: true, cell: (row) => milliseconds(row.p95) },
        {
          name: "Quality",
          right: true,
          cell: (row) => (
            <span
              title={
                row.interval ? `95 % between ${quality(row.interval[0])} and ${quality(row.interval[1])}` : undefined
              }
            >
              {quality(row.avg_quality)}
              {row.quality_source && (
                <span className="text-muted">
                  {" "}
                  {row.quality_source}, n={count(row.quality_samples)}
                </span>
              )}
            </span>
          ),
        },
        { name: "Failed", right: true, cell: (row) => share(row.error_rate) },
      ]}
    />
  );
}

function QualityCost({ rows }: { rows: ModelRow[] }) {
  const dots = rows
    .filter((row) => row.avg_quality !== null && row.cost !== null && row.requests)
    .map((row) => ({ name: row.model, cost: (row.cost ?? 0) / row.requests, quality: row.avg_quality ?? 0 }));
  return dots.length ? (
    <Dots title="Quality against cost" data={dots} />
  ) : (
    <Empty title="No model has both a price and a quality" />
  );
}

function Latency({ query }: { query: Record<string, unknown> }) {
  const found = useAnswer<Report<Percentiles>>(
    "/analytics/latency-percentiles",
    { query: query as never },
    { every: 30_000 },
  );
  return (
    <Loaded
      query={found}
      height="min-h-48"
      isEmpty={({ data }) => !data.count}
      empty={<Empty title="No request in this range" />}
    >
      {({ data }) => (
        <Table
          caption="Latency percentiles"
          rows={(["p50", "p75", "p90", "p95", "p99"] as const).map((name) => [name, data[name]] as const)}
          id={(row) => row[0]}
          columns={[
            { name: "Percentile", cell: (row) => row[0] },
            { name: "Answered within", right: true, cell: (row) => milliseconds(row[1]) },
          ]}
        />
      )}
    </Loaded>
  );
}

function HitRates() {
  const day = useAnswer<Report<CachePerformance>>("/analytics/cache-performance", { query: { period: "day" } });
  const week = useAnswer<Report<CachePerformance>>("/analytics/cache-performance", { query: { period: "week" } });
  const month = useAnswer<Report<CachePerformance>>("/analytics/cache-performance", { query: { period: "month" } });
  const data = [
    ["Day", day],
    ["7 days", week],
    ["30 days", month],
  ].map(([at, found]) => {
    const told = (found as typeof day).data?.data;
    return { at: at as string, rate: told?.overall_hit_rate ?? null };
  });
  return (
    <Loaded query={month} height="min-h-64">
      {() => (
        <Bars
          named
          title="Hit rate by period"
          most={1}
          data={data}
          series={[{ key: "rate", name: "Hit rate" }]}
          format={(value) => share(value, 0)}
        />
      )}
    </Loaded>
  );
}
