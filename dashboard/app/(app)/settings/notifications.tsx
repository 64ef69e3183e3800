"use client";

import { useMutation } from "@tanstack/react-query";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import type { Tests } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useCan } from "@/lib/session";

/** Whether alerts arrive: a test message on every channel that the operator configured. */
export function Notifications() {
  const manages = useCan("manage_policy");
  const test = useMutation<Tests, ApiError>({ mutationFn: () => request("POST", "/alerts/channels/test") });
  if (!manages) return null;
  return (
    <Card
      title="Notifications"
      note="Alerts are on their page and in the gateway's log. The operator may configure a webhook and mail beside: here is whether they arrive."
      actions={
        <>
          <Curl method="POST" path="/alerts/channels/test" />
          <Button disabled={test.isPending} onClick={() => test.mutate()}>
            {test.isPending ? "Sending…" : "Send a test message"}
          </Button>
        </>
      }
    >
      <div aria-live="polite" className="text-sm">
        {test.error && <p className="text-bad">{test.error.message}</p>}
        {test.data?.channels.length === 0 && (
          <p className="text-muted">The operator has configured no channel, so nothing was sent.</p>
        )}
        <ul className="space-y-2">
          {test.data?.channels.map((each) => (
            <li key={each.channel} className="flex flex-wrap items-center gap-2">
              <Badge tone={each.delivered ? "good" : "bad"}>{each.delivered ? "delivered" : "refused"}</Badge>
              <span className="font-medium">{each.channel}</span>
              {each.reason && <span className="min-w-0 break-words text-muted">{each.reason}</span>}
            </li>
          ))}
        </ul>
      </div>
    </Card>
  );
}
