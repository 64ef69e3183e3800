"use client";

import { useState } from "react";
import { Badge } from "@/components/badge";
import { Card, Figure } from "@/components/card";
import { Lines } from "@/components/charts";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Page } from "@/components/page";
import { Empty, Loaded } from "@/components/states";
import type { Forecast, Report } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { count, day, money, percent, zone } from "@/lib/numbers";
import { useQueryState } from "@/lib/range";

const LEAST = 3;

export default function ForecastPage() {
  const [asked, ask] = useQueryState();
  const horizon = asked.get("days") ?? "30";
  const confidence = asked.get("confidence") ?? "0.95";
  const budget = asked.get("budget") ?? "";
  const [typed, setTyped] = useState(budget);
  const query = { horizon_days: horizon, monthly_budget: budget || "0", confidence, tz: zone() };
  const found = useAnswer<Report<Forecast>>("/analytics/forecast", { query });
  return (
    <Page title="Forecast" note="The cost of the days to come, from the last 90 complete days.">
      <Card actions={<Curl path="/analytics/forecast" call={{ query }} />} title="Question">
        <form
          className="flex flex-wrap items-end gap-3"
          onSubmit={(event) => {
            event.preventDefault();
            ask({ budget: typed });
          }}
        >
          <Choice
            label="Days ahead"
            className="w-full sm:w-36"
            value={horizon}
            options={{ "7": "7", "30": "30", "90": "90" }}
            change={(days) => ask({ days })}
          />
          <Choice
            label="Interval"
            className="w-full sm:w-36"
            value={confidence}
            options={{ "0.80": "80 %", "0.90": "90 %", "0.95": "95 %", "0.99": "99 %" }}
            change={(next) => ask({ confidence: next })}
          />
          <Field label="Budget, dollars a month" className="w-full sm:w-52">
            {(id) => (
              <input
                id={id}
                type="number"
                min={0}
                step="any"
                className={input}
                placeholder="none"
                value={typed}
                onChange={(event) => setTyped(event.target.value)}
                onBlur={() => ask({ budget: typed })}
              />
            )}
          </Field>
        </form>
      </Card>
      <Loaded query={found} height="min-h-96">
        {({ data }) =>
          data.history.length < LEAST ? (
            <Card>
              <Empty title="Too little is known to say anything">
                {count(data.history.length)} complete {data.history.length === 1 ? "day" : "days"} of data; a forecast
                needs {LEAST}. No number is better than a made-up one.
              </Empty>
            </Card>
          ) : (
            <Told told={data} horizon={horizon} budget={Number(budget)} level={confidence} />
          )
        }
      </Loaded>
    </Page>
  );
}

/** The first days on which the sum reaches the budget: at the value, and at either end of the interval. */
function crossing(told: Forecast, budget: number): string | null {
  const reached = (name: "value" | "low" | "high") => {
    let sum = 0;
    for (const each of told.forecast.daily) {
      sum += each[name];
      if (sum >= budget) return day(each.date);
    }
    return null;
  };
  const middle = reached("value");
  const early = reached("high");
  if (!middle) return early ? `may be reached from ${early} on` : null;
  return `reached on ${middle} (${early ?? "?"} to ${reached("low") ?? "beyond the horizon"})`;
}

function Told({ told, horizon, budget, level }: { told: Forecast; horizon: string; budget: number; level: string }) {
  const { forecast, history, backtest } = told;
  const total = Number(forecast.predicted_cost);
  const join = history[history.length - 1];
  const points = [
    ...history.map((each) => ({ at: each.date, past: each.value })),
    ...forecast.daily.map((each) => ({ at: each.date, value: each.value, low: each.low, high: each.high })),
  ];
  const bridge = points[history.length - 1];
  if (join && bridge) Object.assign(bridge, { value: join.value });
  const crosses = budget ? crossing(told, budget) : null;
  return (
    <>
      <div className="grid gap-4 sm:grid-cols-3">
        <Figure name={`The next ${horizon} days`} value={money(total)}>
          {percent(100 * Number(level), 0)} between {money(forecast.confidence_low)} and{" "}
          {money(forecast.confidence_high)}
        </Figure>
        <Figure name="Trend" value={<span className="capitalize">{forecast.trend}</span>}>
          {forecast.warning ?? "nothing to warn of"}
        </Figure>
        <Figure name="Budget" value={budget ? money(budget) : "none"}>
          {told.budget_risk ?? (budget ? "the forecast stays below it" : "give one to see whether it holds")}
          {crosses && <span className="block">{crosses}</span>}
        </Figure>
      </div>
      <Card title="Cost a day" note="Solid: what was paid. Dashed: what is to come, with its interval.">
        <Lines
          title="Cost a day, past and to come"
          data={points}
          series={[
            { key: "past", name: "Paid" },
            { key: "value", name: "Forecast", dash: "6 4" },
          ]}
          band={{ low: "low", high: "high", name: `${percent(100 * Number(level), 0)} interval` }}
          mark={budget ? { at: budget / 30, name: "budget a day" } : undefined}
          whole={day}
          format={(value) => money(value, "–")}
        />
      </Card>
      <Card title="How good is it">
        <p className="text-sm text-muted">
          {Number(horizon) <= 7
            ? "An exponential moving average of the daily costs, with a factor for each weekday from four weeks on."
            : "A straight line through the daily costs, with a factor for each weekday from four weeks on."}{" "}
          {backtest ? (
            <>
              The same forecast was made {count(backtest.forecasts)} times in the past: it was off by{" "}
              <strong>{percent(backtest.mean_error_percent)}</strong> on average and {percent(backtest.worst_percent)}{" "}
              at worst. The interval comes from these errors.
            </>
          ) : (
            <>
              <Badge tone="warn">not tested yet</Badge> There is too little history to test it; the interval comes from
              how the days differ.
            </>
          )}
        </p>
      </Card>
    </>
  );
}
