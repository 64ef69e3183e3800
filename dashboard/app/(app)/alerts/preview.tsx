"use client";

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { Rehearsal } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { count, duration, time } from "@/lib/numbers";
import type { Metric } from "./metrics";

const PAUSE_MS = 400;
const SHOWN = 10;

/** What a rule would have said, asked again when the writer rests. */
export function Preview({ condition, metric }: { condition: Record<string, unknown> | null; metric?: Metric }) {
  const text = useRested(condition === null ? "" : JSON.stringify(condition));
  const told = useQuery<Rehearsal, ApiError>({
    queryKey: ["/alerts/rules/preview", text],
    queryFn: ({ signal }) => request("POST", "/alerts/rules/preview", { body: JSON.parse(text), signal }),
    enabled: text !== "",
    retry: false,
    staleTime: 30_000,
  });
  return (
    <section aria-label="Preview" className="min-h-24 rounded-lg bg-surface px-3 py-2 text-sm">
      <div aria-live="polite">
        {text === "" && (
          <p className="text-muted">A threshold and a name of what it is about, and here is what it would have said.</p>
        )}
        {text !== "" && told.error && <p className="text-bad">{told.error.message}</p>}
        {text !== "" && !told.error && !told.data && <p className="text-muted">Looking at what was…</p>}
        {told.data && !told.error && <Told told={told.data} metric={metric} />}
      </div>
    </section>
  );
}

function Told({ told, metric }: { told: Rehearsal; metric?: Metric }) {
  if (told.now === null && told.fired === 0 && told.sample === 0) {
    return <p className="text-muted">There is nothing to look at yet: no request in this time.</p>;
  }
  const seconds = (new Date(told.to).getTime() - new Date(told.from).getTime()) / 1000;
  const short = told.sample < told.requests_needed;
  return (
    <>
      <p className="font-medium">
        It would have fired {told.fired === 1 ? "once" : `${count(told.fired)} times`} in the last {duration(seconds)}.
      </p>
      <p className="tabular mt-1 text-muted">
        Now it is {told.unpriced > 0 && "at least "}
        {metric?.write(told.now)}.
        {short && ` Too little to tell: it needs ${told.requests_needed} requests, and there are ${told.sample}.`}
        {told.unpriced > 0 && ` ${count(told.unpriced)} requests have no known price.`}
        {told.unknown > 0 && ` ${count(told.unknown)} times it could not be told, since requests had no known price.`}{" "}
        {told.step_minutes === 1
          ? "Looked at by the minute, as far back as minutes are kept."
          : "Looked at by the hour: a peak between two full hours may be missed."}
      </p>
      {told.times.length > 0 && (
        <details className="mt-1">
          <summary className="min-h-6">When</summary>
          <ul className="tabular mt-1 space-y-0.5 text-muted">
            {[...told.times]
              .reverse()
              .slice(0, SHOWN)
              .map((each) => (
                <li key={each.at}>
                  {time(each.at)}: {metric?.write(each.value)}
                </li>
              ))}
            {told.times.length > SHOWN && <li>and {count(told.times.length - SHOWN)} before</li>}
          </ul>
        </details>
      )}
    </>
  );
}

/** A text once it has not changed for a moment. */
function useRested(text: string): string {
  const [rested, setRested] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setRested(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return rested;
}
