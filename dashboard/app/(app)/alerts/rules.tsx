"use client";

import { PlusIcon } from "@heroicons/react/24/outline";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Confirm } from "@/components/modal";
import { Empty, Loaded } from "@/components/states";
import { useTell } from "@/components/toast";
import type { RulePage, RuleRow } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { ago, cut } from "@/lib/numbers";
import { useCan } from "@/lib/session";
import { METRICS, minutes, SCOPES } from "./metrics";
import { bodyOf, RuleForm } from "./ruleform";

/** What the organisation wants to be told of, beside what everybody is. */
export function Rules() {
  const manages = useCan("manage_policy");
  const [editing, setEditing] = useState<RuleRow | "new" | null>(null);
  const [removing, setRemoving] = useState<RuleRow | null>(null);
  const tell = useTell();
  const renew = useRenewed();
  const found = useAnswer<RulePage>("/alerts/rules", {}, { every: 30_000 });
  const remove = useMutation<void, ApiError, RuleRow>({
    mutationFn: (row) => request("DELETE", "/alerts/rules/{rule_id}", { params: { rule_id: row.rule_id } }),
    onSuccess: async () => {
      tell("Removed");
      setRemoving(null);
      await renew();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const full = found.data !== undefined && found.data.count >= found.data.limit;
  return (
    <Card
      title="Rules"
      note="Looked at every minute, beside what is looked at for everybody. An alert resolves itself after 15 quiet minutes."
      actions={
        <>
          <Curl path="/alerts/rules" />
          {manages && (
            <Button disabled={full} onClick={() => setEditing("new")}>
              <PlusIcon aria-hidden="true" className="size-4" /> Rule
            </Button>
          )}
        </>
      }
    >
      {full && (
        <p className="mb-3 rounded-lg bg-note-soft px-3 py-2 text-sm text-note">
          An organisation has {found.data?.limit} rules at most: remove one to make another.
        </p>
      )}
      <Loaded
        query={found}
        height="min-h-48"
        isEmpty={({ rules }) => rules.length === 0}
        empty={
          <Empty
            title="No rule yet"
            action={manages && <Button onClick={() => setEditing("new")}>Make the first</Button>}
          >
            A rule raises an alert when a figure of yours has been over or under a threshold: such as what one key costs
            a day, or the error rate of one model.
          </Empty>
        }
      >
        {({ rules }) => (
          <ul className="space-y-3">
            {rules.map((row) => (
              <Row key={row.rule_id} row={row} edit={() => setEditing(row)} remove={() => setRemoving(row)} />
            ))}
          </ul>
        )}
      </Loaded>
      {editing && (
        <RuleForm
          key={editing === "new" ? "new" : editing.rule_id}
          row={editing === "new" ? null : editing}
          close={() => setEditing(null)}
          saved={async () => {
            setEditing(null);
            await renew();
          }}
        />
      )}
      <Confirm
        open={removing !== null}
        close={() => setRemoving(null)}
        title="Remove this rule"
        verb="Remove"
        busy={remove.isPending}
        run={() => removing && remove.mutate(removing)}
      >
        {removing && `${removing.name}. Its open alert, if there is one, is resolved.`}
      </Confirm>
    </Card>
  );
}

function useRenewed() {
  const client = useQueryClient();
  return () =>
    Promise.all(
      ["/alerts/rules", "/alerts/count", "/analytics/anomalies"].map((path) =>
        client.invalidateQueries({ queryKey: [path] }),
      ),
    );
}

function Row({ row, edit, remove }: { row: RuleRow; edit: () => void; remove: () => void }) {
  const manages = useCan("manage_policy");
  const tell = useTell();
  const renew = useRenewed();
  const turn = useMutation<RuleRow, ApiError>({
    mutationFn: () =>
      request("PUT", "/alerts/rules/{rule_id}", {
        params: { rule_id: row.rule_id },
        body: { ...bodyOf(row), enabled: !row.enabled },
      }),
    onSuccess: async (next) => {
      tell(next.enabled ? "Switched on" : "Switched off");
      await renew();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  return (
    <li className="rounded-lg border border-line p-4 text-sm">
      <p className="flex flex-wrap items-center gap-2">
        <Badge tone={row.severity === "critical" ? "bad" : "warn"}>{row.severity}</Badge>
        {!row.enabled && <Badge>switched off</Badge>}
        {row.firing_since && <Badge tone="bad">firing since {ago(row.firing_since)}</Badge>}
        {row.enabled && !row.firing_since && <Badge tone="good">quiet</Badge>}
      </p>
      <p className="mt-2 break-words text-base font-medium" title={row.name}>
        {cut(row.name, 80)}
      </p>
      <p className="tabular mt-1 break-words text-muted">{sentence(row)}</p>
      {manages && (
        <div className="mt-3 flex flex-wrap gap-2">
          <Button size="small" onClick={edit} disabled={row.threshold === null} aria-label={`Edit ${row.name}`}>
            Edit
          </Button>
          <Button
            size="small"
            disabled={turn.isPending || row.threshold === null}
            onClick={() => turn.mutate()}
            aria-label={`Switch ${row.enabled ? "off" : "on"} ${row.name}`}
          >
            Switch {row.enabled ? "off" : "on"}
          </Button>
          <Button size="small" kind="danger" onClick={remove} aria-label={`Remove ${row.name}`}>
            Remove
          </Button>
        </div>
      )}
    </li>
  );
}

function sentence(row: RuleRow): string {
  const metric = METRICS[row.metric];
  const whose = row.subject ? `${row.scope} ${row.subject}` : (SCOPES[row.scope] ?? row.scope).toLowerCase();
  const way = row.direction === "over" ? "at or over" : "under";
  const bound = row.threshold === null ? "a sum you may not see" : metric?.write(row.threshold);
  const over = row.metric === "budget_share" ? "" : ` within ${minutes(row.window_minutes)}`;
  const held = row.for_minutes ? `, for ${minutes(row.for_minutes)}` : "";
  const least = row.min_requests ? `, of at least ${row.min_requests} requests` : "";
  return `${metric?.name ?? row.metric} of ${whose} ${way} ${bound}${over}${held}${least}.`;
}
