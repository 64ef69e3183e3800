"use client";

import { BellAlertIcon } from "@heroicons/react/24/outline";
import { Badge } from "@/components/badge";
import { Card, Figure } from "@/components/card";
import { Bars, Lines, Shares } from "@/components/charts";
import { Curl } from "@/components/curl";
import { Delta, First } from "@/components/delta";
import { Inferences } from "@/components/inferences";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Spark } from "@/components/spark";
import { Empty, Loaded } from "@/components/states";
import { stepsOf } from "@/components/stepper";
import { Updated } from "@/components/updated";
import { Why } from "@/components/why";
import type { BudgetPage, Report, Summary } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { Link } from "@/lib/nav";
import { compact, count, money, percent, quality, share } from "@/lib/numbers";
import { rangeQuery, useQueryState, useRange } from "@/lib/range";
import { useCan } from "@/lib/session";

export default function Dashboard() {
  const [range, change] = useRange();
  const [asked, ask] = useQueryState();
  const query = { ...rangeQuery(range), compare: "previous" };
  const summary = useAnswer<Report<Summary>>("/analytics/summary", { query }, { every: 10_000 });
  const id = asked.get("id");
  return (
    <Page
      title="Dashboard"
      actions={
        <>
          <Updated at={summary.dataUpdatedAt} />
          <RangePicker range={range} change={change} />
        </>
      }
    >
      <Loaded query={summary} height="min-h-[60rem]">
        {({ data }) => (
          <>
            <OpenAlerts found={data} />
            {data.totals.total_requests === 0 ? (
              <Card>
                <First range={range.name} />
              </Card>
            ) : (
              <Content found={data} />
            )}
            <Card
              title="Recent inferences"
              note="The newest of all, whatever the range. Each opens why it was answered as it was."
              actions={<Curl path="/analytics/summary" call={{ query }} />}
            >
              {data.recent.length ? (
                <Inferences rows={data.recent} opened={id} open={(next) => ask({ id: next })} />
              ) : (
                <Empty title="No request yet" />
              )}
            </Card>
          </>
        )}
      </Loaded>
      <Why
        id={id}
        close={() => ask({ id: null })}
        steps={stepsOf(
          (summary.data?.data.recent ?? []).map((row) => row.request_id),
          id,
          (next) => ask({ id: next }),
        )}
      />
    </Page>
  );
}

function OpenAlerts({ found }: { found: Summary }) {
  const open = found.alerts.filter((alert) => alert.state === "active");
  if (!open.length) return null;
  const worst = open.find((alert) => alert.severity === "critical") ?? open[0];
  return (
    <p className="mb-4 flex flex-wrap items-center gap-2 rounded-xl border border-bad bg-bad-soft px-4 py-3 text-sm text-bad">
      <BellAlertIcon aria-hidden="true" className="size-5 shrink-0" />
      <span className="min-w-0 flex-1 first-letter:uppercase">{worst?.message}</span>
      <Link href="/alerts/" className="min-h-6 font-medium underline underline-offset-2">
        {open.length === 1 ? "1 open alert" : `${open.length} open alerts`}
      </Link>
    </p>
  );
}

function Content({ found }: { found: Summary }) {
  const { totals, previous, series, cache } = found;
  const points = series.map((point) => ({ ...point, at: point.timestamp }));
  return (
    <div className="mb-4 space-y-4">
      <div className="grid gap-4 sm:grid-cols-2 lg:grid-cols-4">
        <Figure
          name="Saved against the baseline"
          value={totals.savings_percent === null ? "–" : percent(totals.savings_percent)}
        >
          {totals.absolute_savings === null
            ? "Money needs the permission view_cost"
            : `${money(totals.absolute_savings)} of ${money(totals.baseline_cost)}`}
          <Delta now={totals.absolute_savings} before={previous?.absolute_savings} up="good" />
          <Spark values={series.map((point) => point.saved)} />
        </Figure>
        <Figure name="Requests" value={count(totals.total_requests)}>
          {totals.errors ? `${share(totals.errors / totals.total_requests)} failed` : "none failed"}
          <Delta now={totals.total_requests} before={previous?.total_requests} />
          <Spark values={series.map((point) => point.requests)} />
        </Figure>
        <Figure name="Total cost" value={money(totals.total_cost, "–")}>
          {totals.unpriced_requests
            ? `${count(totals.unpriced_requests)} requests of unknown price are not in it`
            : "every request has a price"}
          <Delta now={totals.total_cost} before={previous?.total_cost} up="bad" />
          <Spark values={series.map((point) => point.cost)} />
          <MonthBudget />
        </Figure>
        <Figure name="Quality of 5" value={quality(totals.avg_quality)}>
          {totals.quality_samples ? `over ${count(totals.quality_samples)} answers` : "nothing was judged or predicted"}
          <Delta now={totals.avg_quality} before={previous?.avg_quality} up="good" />
        </Figure>
      </div>
      <div className="grid gap-4 lg:grid-cols-2">
        <Card
          title="Cache hit rate"
          note={`${share(cache.overall_hit_rate)} of the requests that asked a cache, over the whole range`}
        >
          <Lines
            title="Cache hit rate over time"
            data={points}
            most={1}
            series={[{ key: "cache_hit_rate", name: "Hit rate" }]}
            format={(value) => share(value, 0)}
          />
        </Card>
        <Models found={found} />
      </div>
      <div className="grid gap-4 lg:grid-cols-2">
        {totals.total_cost !== null && (
          <Card title="Cost with and without Asahi" note="The gap is what was saved">
            <Lines
              title="Cost with and without Asahi"
              data={points}
              series={[
                { key: "cost", name: "Paid" },
                { key: "baseline_cost", name: "Baseline" },
              ]}
              format={(value) => money(value)}
            />
          </Card>
        )}
        <Card title="Answers from each cache tier">
          {points.some((point) => point.t1_hits + point.t2_hits + point.t3_hits) ? (
            <Bars
              title="Hits by tier over time"
              data={points}
              series={[
                { key: "t1_hits", name: "Exact" },
                { key: "t2_hits", name: "Semantic" },
                { key: "t3_hits", name: "Partial" },
              ]}
              format={compact}
            />
          ) : (
            <Empty title="No cache answered in this range" />
          )}
        </Card>
      </div>
      <SavedBy found={found} />
    </div>
  );
}

/** What is left of the organisation's month, where there is a budget for it. */
function MonthBudget() {
  const paid = useCan("view_cost");
  const found = useAnswer<BudgetPage>("/governance/budgets", {}, { every: 30_000, enabled: paid });
  const budget = found.data?.budgets.find((each) => each.level === "org" && each.window === "month");
  if (!budget || budget.spent === null || !budget.limit) return null;
  const used = budget.spent / budget.limit;
  return (
    <span className="mt-2 block">
      <span className="block h-2 overflow-hidden rounded-full bg-surface">
        <span
          className={`block h-full ${used >= 1 ? "bg-bad" : used >= 0.75 ? "bg-warn" : "bg-good"}`}
          style={{ width: `${Math.min(100, 100 * used)}%` }}
        />
      </span>
      {money(budget.spent)} of this month's {money(budget.limit)} ({share(used, 0)})
    </span>
  );
}

function Models({ found }: { found: Summary }) {
  const priced = found.by_model.some((each) => each.cost);
  const value = (each: Summary["by_model"][number]) => (priced ? (each.cost ?? 0) : each.requests);
  const first = found.by_model.slice(0, 5);
  const rest = found.by_model.slice(5).reduce((sum, each) => sum + value(each), 0);
  const tell = (amount: number) => (priced ? money(amount) : count(amount));
  const parts = first.map((each) => ({ name: each.model, value: value(each), told: tell(value(each)) }));
  if (rest) parts.push({ name: "Other", value: rest, told: tell(rest) });
  return (
    <Card
      title={priced ? "Cost by model" : "Requests by model"}
      note={priced ? undefined : "Money is unknown or not shown"}
    >
      {parts.length ? <Shares title="Shares by model" data={parts} /> : <Empty title="No model answered" />}
    </Card>
  );
}

function SavedBy({ found }: { found: Summary }) {
  const saved = Object.entries(found.saved_by ?? {}).sort((one, two) => two[1] - one[1]);
  if (!saved.length) return null;
  return (
    <Card title="Where the saving came from">
      <ul className="flex flex-wrap gap-2">
        {saved.map(([name, amount]) => (
          <li key={name}>
            <Badge tone={amount < 0 ? "bad" : "good"} className="tabular px-3 py-1 text-sm">
              {name.replaceAll("_", " ")} {money(amount)}
            </Badge>
          </li>
        ))}
      </ul>
    </Card>
  );
}
