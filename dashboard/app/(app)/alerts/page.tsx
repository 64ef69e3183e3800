"use client";

import { CheckCircleIcon, ExclamationTriangleIcon, InformationCircleIcon } from "@heroicons/react/24/outline";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Badge, type Tone } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Page } from "@/components/page";
import { Empty, Loaded } from "@/components/states";
import { Tabs } from "@/components/tabs";
import { useTell } from "@/components/toast";
import { Updated } from "@/components/updated";
import { Why } from "@/components/why";
import type { Advice, Anomaly, Report } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { count, DASH, milliseconds, money, percent, quality, share, time } from "@/lib/numbers";
import { useQueryState } from "@/lib/range";
import { useCan } from "@/lib/session";
import { ofRule } from "./metrics";
import { Rules } from "./rules";

const TONES: Record<string, Tone> = {
  critical: "bad",
  high: "bad",
  warning: "warn",
  medium: "warn",
  low: "note",
  info: "note",
};
const TABS = { active: "Open", all: "All of 90 days", recommendations: "Recommendations", rules: "Rules" } as const;
type Tab = keyof typeof TABS;

export default function Alerts() {
  const [asked, ask] = useQueryState();
  const money = useCan("view_cost");
  const wanted = asked.get("tab") ?? "active";
  const tab = (wanted in TABS ? wanted : "active") as Tab;
  const id = asked.get("id");
  return (
    <Page title="Alerts" note="What is unusual, and what would lower the bill.">
      <Tabs
        label="Alerts"
        tabs={(Object.keys(TABS) as Tab[])
          .filter((id) => id !== "recommendations" || money)
          .map((id) => ({ id, name: TABS[id] }))}
        open={tab}
        change={(next) => ask({ tab: next })}
      />
      {tab === "recommendations" && <Recommendations open={(next) => ask({ id: next })} />}
      {tab === "rules" && <Rules />}
      {(tab === "active" || tab === "all") && <Anomalies state={tab} />}
      <Why id={id} close={() => ask({ id: null })} />
    </Page>
  );
}

function Anomalies({ state }: { state: "active" | "all" }) {
  const query = { state, limit: 100 };
  const found = useAnswer<Report<Anomaly[]>>("/analytics/anomalies", { query }, { every: 30_000 });
  return (
    <Card
      title={state === "active" ? "Open alerts" : "Alerts of 90 days"}
      actions={
        <>
          <Updated at={found.dataUpdatedAt} />
          <Curl path="/analytics/anomalies" call={{ query }} />
        </>
      }
    >
      <Loaded
        query={found}
        height="min-h-48"
        isEmpty={({ data }) => data.length === 0}
        empty={
          <Empty title="Nothing unusual">
            <span className="inline-flex items-center gap-2">
              <CheckCircleIcon aria-hidden="true" className="size-5 text-good" />
              Costs, latency, errors and hit rates are looked at every minute.
            </span>
          </Empty>
        }
      >
        {({ data }) => (
          <ul className="space-y-3">
            {data.map((alert) => (
              <Alert key={alert.id} alert={alert} />
            ))}
          </ul>
        )}
      </Loaded>
    </Card>
  );
}

function Alert({ alert }: { alert: Anomaly }) {
  const manages = useCan("manage_policy");
  const tell = useTell();
  const client = useQueryClient();
  const acknowledge = useMutation<void, ApiError>({
    mutationFn: () =>
      request("POST", "/analytics/anomalies/{alert_id}/acknowledge", { params: { alert_id: alert.id } }),
    onSuccess: async () => {
      tell("Acknowledged");
      await client.invalidateQueries({ queryKey: ["/analytics/anomalies"] });
      await client.invalidateQueries({ queryKey: ["/alerts/count"] });
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const tone = TONES[alert.severity.toLowerCase()] ?? "plain";
  const Icon = tone === "note" || tone === "plain" ? InformationCircleIcon : ExclamationTriangleIcon;
  return (
    <li className="rounded-lg border border-line p-4 text-sm">
      <p className="flex flex-wrap items-center gap-2">
        <Badge tone={tone}>
          <Icon aria-hidden="true" className="size-4" />
          {alert.severity}
        </Badge>
        <Badge>{alert.state}</Badge>
        <span className="text-muted">{alert.anomaly_type.replaceAll("_", " ")}</span>
      </p>
      <p className="mt-2 text-base font-medium first-letter:uppercase">{alert.message}</p>
      <p className="tabular mt-1 text-muted">
        {alert.current_value !== null &&
          `${figure(alert, alert.current_value)} now, ${figure(alert, alert.expected_value)} ${
            ofRule(alert.metric_name) ? "is the threshold" : "expected"
          }. `}
        {alert.deviation_pct !== null &&
          `${percent(Math.abs(alert.deviation_pct), 0)} ${alert.deviation_pct < 0 ? "below" : "above"} that. `}
        Since {time(alert.detected_at)}
        {alert.resolved_at && `, resolved ${time(alert.resolved_at)}`}
        {alert.acknowledged_at && `, acknowledged ${time(alert.acknowledged_at)} by ${alert.acknowledged_by}`}.
      </p>
      {manages && alert.state === "active" && (
        <div className="mt-3 flex flex-wrap gap-2">
          <Button disabled={acknowledge.isPending} onClick={() => acknowledge.mutate()}>
            {acknowledge.isPending ? "Acknowledging…" : "Acknowledge"}
          </Button>
          <Curl
            method="POST"
            path="/analytics/anomalies/{alert_id}/acknowledge"
            call={{ params: { alert_id: alert.id } }}
          />
        </div>
      )}
    </li>
  );
}

/** In the unit of what was looked at. */
const UNITS: Record<string, (value: number) => string> = {
  cost_per_request: (value) => money(value),
  cost_per_day: (value) => money(value),
  latency_p95: milliseconds,
  error_rate: (value) => share(value),
  cache_hit_rate: (value) => share(value),
  quality: (value) => quality(value),
  tokens_against_estimate: (value) => `${value.toFixed(1)} times the estimate`,
};

function figure(alert: Anomaly, value: number | null): string {
  if (value === null) return DASH;
  return (
    ofRule(alert.metric_name)?.write(value) ??
    UNITS[alert.metric_name]?.(value) ??
    value.toLocaleString(undefined, { maximumSignificantDigits: 4 })
  );
}

/** Names of settings stand between backticks. */
function Marked({ text }: { text: string }) {
  const parts = text.split("`").map((part, at) => ({ part, at, code: at % 2 === 1 }));
  return parts.map(({ part, at, code }) => (code ? <code key={at}>{part}</code> : <span key={at}>{part}</span>));
}

function Recommendations({ open }: { open: (id: string) => void }) {
  const found = useAnswer<Report<Advice[]>>("/analytics/recommendations");
  return (
    <Card
      title="Recommendations"
      note="Each estimate is replayed on the organisation's own last seven days, for 30 days, with its 95 % interval."
      actions={<Curl path="/analytics/recommendations" />}
    >
      <Loaded
        query={found}
        height="min-h-48"
        isEmpty={({ data }) => data.length === 0}
        empty={
          <Empty title="Nothing to recommend">
            It takes ten requests within seven days, and a condition that holds.
          </Empty>
        }
      >
        {({ data }) => (
          <ul className="space-y-3">
            {data.map((advice) => (
              <li key={advice.id} className="rounded-lg border border-line p-4 text-sm">
                <p className="flex flex-wrap items-center gap-2">
                  <Badge tone={TONES[advice.priority]}>{advice.priority}</Badge>
                  <Badge>{advice.category}</Badge>
                  <span className="tabular font-medium">
                    {advice.estimated_savings === null
                      ? "cannot be estimated"
                      : `about ${money(advice.estimated_savings)} a month`}
                    {advice.interval && ` (${money(advice.interval[0])} to ${money(advice.interval[1])})`}
                  </span>
                </p>
                <p className="mt-2 text-base font-medium first-letter:uppercase">
                  <Marked text={advice.title} />
                </p>
                <p className="mt-1 text-muted first-letter:uppercase">
                  <Marked text={advice.description} />.
                </p>
                <p className="mt-1 first-letter:uppercase">
                  <strong>What to do:</strong> <Marked text={advice.action} />.
                </p>
                <details className="mt-2 text-muted">
                  <summary className="min-h-6">Evidence: {count(advice.evidence.requests)} requests</summary>
                  <p className="mt-1">How it was estimated: {advice.evidence.basis}.</p>
                  <ul className="mt-1 flex flex-wrap gap-2">
                    {advice.evidence.request_ids.map((id) => (
                      <li key={id}>
                        <button
                          type="button"
                          className="min-h-6 break-all font-mono text-xs text-accent-ink underline"
                          onClick={() => open(id)}
                        >
                          {id}
                        </button>
                      </li>
                    ))}
                  </ul>
                </details>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
    </Card>
  );
}
