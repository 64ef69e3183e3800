"use client";

import { Card } from "@/components/card";
import { Lines } from "@/components/charts";
import { Curl } from "@/components/curl";
import { Choice, Switch } from "@/components/field";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Empty, Loaded } from "@/components/states";
import { Updated } from "@/components/updated";
import type { Report, TrendPoint } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { compact, milliseconds, money, quality, share } from "@/lib/numbers";
import { rangeQuery, useQueryState, useRange } from "@/lib/range";
import { useCan } from "@/lib/session";

type Format = (value: number | null | undefined) => string;

const METRICS: Record<string, [string, Format]> = {
  cost: ["Cost", (value) => money(value, "–")],
  saved: ["Saved", (value) => money(value, "–")],
  requests: ["Requests", compact],
  latency: ["Latency", milliseconds],
  cache_hit_rate: ["Cache hit rate", (value) => share(value, 0)],
  errors: ["Errors", compact],
  tokens: ["Tokens", compact],
  quality: ["Quality of 5", quality],
};
const MONEY = new Set(["cost", "saved"]);
const SPLITS = 6;

export default function Trends() {
  const [range, change] = useRange();
  const [asked, ask] = useQueryState();
  const paid = useCan("view_cost");
  const options = Object.fromEntries(
    Object.entries(METRICS)
      .filter(([name]) => paid || !MONEY.has(name))
      .map(([name, [shown]]) => [name, shown]),
  );
  const wanted = asked.get("metric") ?? "";
  const metric = wanted in options ? wanted : paid ? "cost" : "requests";
  const split = asked.get("split") ?? "";
  const intervals = asked.get("points") ?? "48";
  const bounds = rangeQuery(range);
  const times = bounds.period ? windowOf(String(bounds.period)) : { from: String(bounds.from), to: String(bounds.to) };
  const compared = asked.get("compare") === "previous" && split === "";
  const query = {
    ...times,
    tz: range.tz,
    metric,
    intervals,
    split_by: split,
  };
  const found = useAnswer<Report<TrendPoint[]>>(
    "/analytics/trends",
    { query },
    { every: 30_000, same: ["metric", "split_by"] },
  );
  const before = useAnswer<Report<TrendPoint[]>>(
    "/analytics/trends",
    { query: { ...query, ...windowBefore(times) } },
    { every: 30_000, same: ["metric", "split_by"], enabled: compared },
  );
  const [name, format] = METRICS[metric] ?? ["", compact];
  return (
    <Page
      title="Trends"
      actions={
        <>
          <Updated at={found.dataUpdatedAt} />
          <RangePicker range={range} change={change} />
        </>
      }
    >
      <Card title={`${name} over time`} actions={<Curl path="/analytics/trends" call={{ query }} />}>
        <div className="mb-4 flex flex-wrap gap-3">
          <Choice
            label="Figure"
            className="w-full sm:w-44"
            value={metric}
            options={options}
            change={(next) => ask({ metric: next })}
          />
          <Choice
            label="Split by"
            className="w-full sm:w-44"
            value={split}
            options={{ "": "nothing", model: "Model", tier: "Cache tier" }}
            change={(next) => ask({ split: next })}
          />
          <Choice
            label="Points of at most"
            className="w-full sm:w-44"
            value={intervals}
            options={{ "12": "12", "24": "24", "48": "48", "100": "100", "200": "200" }}
            change={(next) => ask({ points: next })}
          />
          <div className="self-end pb-2">
            <Switch
              label="The period before"
              disabled={split !== ""}
              checked={compared}
              change={(on) => ask({ compare: on ? "previous" : null })}
            />
          </div>
        </div>
        <Loaded query={found} height="min-h-80">
          {({ data }) => (
            <Chart
              data={data}
              before={compared ? before.data?.data : undefined}
              metric={metric}
              name={name}
              format={format}
              split={split !== ""}
            />
          )}
        </Loaded>
      </Card>
    </Page>
  );
}

/** The range as two times, so that the number of points is the reader's. Its end is a whole minute. */
function windowOf(period: string) {
  const days = { day: 1, week: 7, month: 30 }[period] ?? 7;
  const end = Math.floor(Date.now() / 60_000) * 60_000 + 60_000;
  return { from: new Date(end - days * 86_400_000).toISOString(), to: new Date(end).toISOString() };
}

/** The stretch of the same length that ended where this one begins. */
function windowBefore({ from, to }: { from: string; to: string }) {
  const start = new Date(from).getTime();
  return { from: new Date(2 * start - new Date(to).getTime()).toISOString(), to: from };
}

function Chart({
  data,
  before,
  metric,
  name,
  format,
  split,
}: {
  data: TrendPoint[];
  before: TrendPoint[] | undefined;
  metric: string;
  name: string;
  format: Format;
  split: boolean;
}) {
  if (!data.some((point) => point.value)) return <Empty title={`No ${name.toLowerCase()} in this range`} />;
  const main = metric === "latency" ? "p95" : "value";
  const points = data.map(({ by, timestamp, ...rest }, at) => ({
    at: timestamp,
    ...rest,
    ...by,
    before: before?.[at]?.[main],
  }));
  const sums = new Map<string, number>();
  for (const point of data) {
    for (const [each, value] of Object.entries(point.by ?? {})) sums.set(each, (sums.get(each) ?? 0) + (value ?? 0));
  }
  const names = [...sums].sort((one, two) => two[1] - one[1]).map(([each]) => each);
  const series = split
    ? names.slice(0, SPLITS).map((each) => ({ key: each, name: each }))
    : metric === "latency"
      ? ["p50", "p95", "p99"].map((each) => ({ key: each, name: each }))
      : [{ key: "value", name }];
  if (before) series.push({ key: "before", name: `${metric === "latency" ? "p95" : name}, the period before` });
  return (
    <>
      <Lines title={`${name} over time`} data={points} series={series} format={format} />
      {split && names.length > SPLITS && (
        <p className="mt-2 text-xs text-muted">
          The {SPLITS} largest of {names.length} are drawn; the export of the report has all.
        </p>
      )}
    </>
  );
}
