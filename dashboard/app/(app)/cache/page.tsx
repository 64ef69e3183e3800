"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Button, buttonStyle } from "@/components/button";
import { Card, Figure } from "@/components/card";
import { Bars, Lines } from "@/components/charts";
import { Curl } from "@/components/curl";
import { Confirm } from "@/components/modal";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Empty, Loaded } from "@/components/states";
import { useTell } from "@/components/toast";
import { Updated } from "@/components/updated";
import type { CachePerformance, CacheStats, Report, Summary, TierStats } from "@/lib/answers";
import { type ApiError, request, urlOf } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { bytes, compact, count, milliseconds, money, share } from "@/lib/numbers";
import { rangeQuery, useRange } from "@/lib/range";
import { useCan } from "@/lib/session";
import { Entries } from "./entries";

const TIERS = { t1: "Exact (tier 1)", t2: "Semantic (tier 2)", t3: "Intermediate (tier 3)" } as const;
const STATES: Record<string, string> = {
  uncalibrated: "too few labels yet: it only watches, and serves nothing",
  within: "within its bound",
  breached: "bound broken: it serves nothing until it is within again",
};

export default function Cache() {
  const [range, change] = useRange();
  const manages = useCan("manage_policy");
  const stats = useAnswer<CacheStats>("/cache/stats", {}, { every: 30_000 });
  const query = rangeQuery(range);
  const found = useAnswer<Report<CachePerformance>>("/analytics/cache-performance", { query }, { every: 30_000 });
  return (
    <Page
      title="Cache"
      note="What was answered without paying for it again."
      actions={
        <>
          <Updated at={stats.dataUpdatedAt} />
          <RangePicker range={range} change={change} />
        </>
      }
    >
      <Loaded query={stats} height="min-h-64">
        {(told) => <Figures told={told} />}
      </Loaded>
      <div className="grid gap-4 lg:grid-cols-2">
        <Card title="Hit rate over time">
          <OverTime />
        </Card>
        <Card
          title="Speed and money, in this range"
          actions={<Curl path="/analytics/cache-performance" call={{ query }} />}
        >
          <Loaded query={found} height="min-h-64">
            {({ data }) => <Performance data={data} on={stats.data} />}
          </Loaded>
        </Card>
      </div>
      {manages ? <Managed /> : null}
    </Page>
  );
}

function Figures({ told }: { told: CacheStats }) {
  const tiers = (Object.keys(TIERS) as (keyof typeof TIERS)[]).map((name) => [name, told[name]] as const);
  const entries = tiers.reduce<number | null>(
    (sum, [, tier]) => (tier === undefined ? sum : tier.entries === null || sum === null ? null : sum + tier.entries),
    0,
  );
  return (
    <div className="grid gap-4 sm:grid-cols-2 lg:grid-cols-3">
      <Figure name="Entries" value={count(entries)}>
        in {Object.values(told.backend).join(", ") || "no tier"}
      </Figure>
      {tiers.map(([name, tier]) => (
        <TierFigure key={name} name={TIERS[name]} tier={tier} />
      ))}
      <Figure name="All tiers, of all time" value={share(told.overall_hit_rate)}>
        of the requests that asked a cache
      </Figure>
      <Figure name="Storage used" value={bytes(told.storage_bytes)}>
        {told.storage_limit_bytes
          ? `${share((told.storage_bytes ?? 0) / told.storage_limit_bytes)} of ${bytes(told.storage_limit_bytes)}`
          : "its limit is that of the store"}
      </Figure>
    </div>
  );
}

function TierFigure({ name, tier }: { name: string; tier: TierStats | undefined }) {
  if (!tier) {
    return (
      <Figure name={name} value="off">
        not configured on this gateway
      </Figure>
    );
  }
  const asked = tier.hits + tier.misses;
  return (
    <Figure name={name} value={`${count(tier.hits)} hits`}>
      {asked ? `${share(tier.hit_rate)} of ${count(asked)} look-ups` : "no look-up yet"}; {count(tier.entries)} entries,{" "}
      {bytes(tier.bytes)}
      {tier.cost_saved !== null && `; saved ${money(tier.cost_saved)}`}
    </Figure>
  );
}

function OverTime() {
  const [range] = useRange();
  const summary = useAnswer<Report<Summary>>(
    "/analytics/summary",
    { query: { ...rangeQuery(range), recent: 0 } },
    { every: 30_000 },
  );
  return (
    <Loaded query={summary} height="min-h-64">
      {({ data }) => {
        const points = data.series.map((point) => ({ ...point, at: point.timestamp }));
        if (!points.some((point) => point.cache_hit_rate !== null))
          return <Empty title="No cache was asked in this range" />;
        return (
          <div className="space-y-4">
            <Lines
              title="Hit rate over time"
              data={points}
              most={1}
              series={[{ key: "cache_hit_rate", name: "Hit rate" }]}
              format={(value) => share(value, 0)}
            />
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
          </div>
        );
      }}
    </Loaded>
  );
}

function Performance({ data, on }: { data: CachePerformance; on: CacheStats | undefined }) {
  const wrong = data.tier_2;
  const [low, high] = wrong.interval ?? [null, null];
  const most = on?.t2?.max_error_rate ?? null;
  const state = on?.t2?.state ? STATES[on.t2.state] : undefined;
  return (
    <div className="space-y-4 text-sm">
      <dl className="tabular grid gap-3">
        {([1, 2, 3] as const).map((tier) => {
          const each = data[`tier_${tier}`];
          const off = on !== undefined && on[`t${tier}`] === undefined && each.hits === 0;
          return (
            <div key={tier} className="flex flex-wrap justify-between gap-2 border-b border-line pb-2">
              <dt className="font-medium">{Object.values(TIERS)[tier - 1]}</dt>
              <dd className="text-muted">
                {off
                  ? "not configured"
                  : `${count(each.hits)} hits (${each.hits + each.misses ? share(each.hit_rate) : "–"}), answers in ${milliseconds(each.avg_latency_ms)}, saved ${money(each.cost_saved, "–")}`}
              </dd>
            </div>
          );
        })}
      </dl>
      <section>
        <h3 className="font-semibold">Wrong hits of the semantic tier</h3>
        <p className="tabular mt-1 text-muted">
          {wrong.labelled_hits
            ? `${count(wrong.false_hits)} of ${count(wrong.labelled_hits)} checked hits were wrong: ${share(wrong.false_hit_rate, 2)} (between ${share(low, 2)} and ${share(high, 2)}).`
            : "No hit has been checked yet."}{" "}
          {most !== null && <strong>{verdict(most, low, high)}</strong>}
        </p>
        {state && <p className="mt-1 text-muted">State: {state}.</p>}
      </section>
    </div>
  );
}

/** Whether the bound that the organisation set holds, by the interval of what was measured. */
function verdict(most: number, low: number | null, high: number | null): string {
  const bound = `The bound of ${share(most)}`;
  if (high === null) return `${bound} cannot be judged before that.`;
  if (high <= most) return `${bound} holds.`;
  if ((low ?? 0) > most) return `${bound} is broken.`;
  return `Whether the bound of ${share(most)} holds is not certain yet.`;
}

function Managed() {
  const [doing, setDoing] = useState<"clear" | "expired" | null>(null);
  const tell = useTell();
  const client = useQueryClient();
  const remove = useMutation<{ cleared: { total: number } }, ApiError, "clear" | "expired">({
    mutationFn: (what) => request("DELETE", what === "clear" ? "/cache/clear" : "/cache/expired"),
    onSuccess: async ({ cleared }) => {
      tell(cleared.total === 1 ? "1 entry removed" : `${count(cleared.total)} entries removed`);
      setDoing(null);
      await client.invalidateQueries();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  return (
    <Card
      title="Entries"
      actions={
        <>
          <a className={buttonStyle()} href={urlOf("/cache/export", { query: { format: "json" } })} download>
            Export JSON
          </a>
          <Button onClick={() => setDoing("expired")}>Clear expired</Button>
          <Button kind="danger" onClick={() => setDoing("clear")}>
            Clear all
          </Button>
        </>
      }
    >
      <Entries />
      <Confirm
        open={doing !== null}
        close={() => setDoing(null)}
        title={doing === "clear" ? "Clear every cache of the organisation" : "Clear what has expired"}
        verb={doing === "clear" ? "Clear all" : "Clear expired"}
        typed={doing === "clear" ? "clear" : undefined}
        busy={remove.isPending}
        run={() => doing && remove.mutate(doing)}
      >
        {doing === "clear"
          ? "Every request is paid for again until the caches have filled. This cannot be undone."
          : "Entries that still live stay."}
      </Confirm>
    </Card>
  );
}
