"use client";

import { PlusIcon } from "@heroicons/react/24/outline";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Confirm, Modal } from "@/components/modal";
import { Empty, Loaded } from "@/components/states";
import { useTell } from "@/components/toast";
import type { BudgetPage, BudgetRow } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { money, percent, time } from "@/lib/numbers";
import { useCan } from "@/lib/session";

/** What may be spent and what has been. */
export function Budgets() {
  const bills = useCan("manage_billing");
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<BudgetRow | null>(null);
  const tell = useTell();
  const client = useQueryClient();
  const found = useAnswer<BudgetPage>("/governance/budgets", {}, { every: 30_000 });
  const renew = () => client.invalidateQueries({ queryKey: ["/governance/budgets"] });
  const remove = useMutation<void, ApiError, BudgetRow>({
    mutationFn: (row) => request("DELETE", "/governance/budgets/{budget_id}", { params: { budget_id: row.budget_id } }),
    onSuccess: async () => {
      tell("Removed");
      setRemoving(null);
      await renew();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  return (
    <Card
      title="Budgets"
      note="Windows begin at midnight UTC. A request reserves its highest cost first, so a cap is a cap."
      actions={
        <>
          <Curl path="/governance/budgets" />
          {bills && (
            <Button onClick={() => setAdding(true)}>
              <PlusIcon aria-hidden="true" className="size-4" /> Add budget
            </Button>
          )}
        </>
      }
    >
      <Loaded
        query={found}
        height="min-h-32"
        isEmpty={(data) => data.budgets.length === 0}
        empty={<Empty title="No budget: spending has no bound but the policy's" />}
      >
        {(data) => (
          <ul className="space-y-4">
            {data.budgets.map((row) => (
              <Row
                key={row.budget_id}
                row={row}
                remove={bills && row.source === "budget" ? () => setRemoving(row) : undefined}
              />
            ))}
          </ul>
        )}
      </Loaded>
      <NewBudget key={String(adding)} open={adding} close={() => setAdding(false)} renew={renew} />
      <Confirm
        open={removing !== null}
        close={() => setRemoving(null)}
        title="Remove this budget"
        verb="Remove"
        typed={removing?.subject}
        busy={remove.isPending}
        run={() => removing && remove.mutate(removing)}
      >
        {removing &&
          `${removing.level} ${removing.subject}, ${money(removing.limit)} a ${removing.window}. Nothing stops its spending then.`}
      </Confirm>
    </Card>
  );
}

function Row({ row, remove }: { row: BudgetRow; remove?: () => void }) {
  const used = row.spent === null ? null : (100 * ((row.spent ?? 0) + (row.held ?? 0))) / row.limit;
  const state = used === null ? "plain" : used > 100 ? "bad" : used >= 100 ? "bad" : used >= 80 ? "warn" : "good";
  const told = used === null ? "each request" : used > 100 ? "exceeded" : used >= 100 ? "used up" : percent(used, 0);
  return (
    <li className="text-sm">
      <div className="flex flex-wrap items-center gap-2">
        <span className="min-w-0 flex-1 break-words">
          <strong>
            {row.level} {row.subject}
          </strong>
          , {row.window}
        </span>
        {row.source === "policy" && <Badge>from the policy</Badge>}
        {row.action === "warn" && <Badge>warns only</Badge>}
        <Badge tone={state}>{told}</Badge>
        {remove && (
          <Button
            size="small"
            kind="danger"
            aria-label={`Remove the budget of ${row.level} ${row.subject}, ${row.window}`}
            onClick={remove}
          >
            Remove
          </Button>
        )}
      </div>
      {used !== null && (
        <div
          role="progressbar"
          aria-label={`Used of the budget of ${row.subject}`}
          aria-valuenow={Math.round(Math.min(used, 100))}
          aria-valuemin={0}
          aria-valuemax={100}
          className="mt-2 h-3 overflow-hidden rounded-full border border-control bg-surface"
        >
          <div className="h-full bg-(--series-1)" style={{ width: `${Math.min(100, used)}%` }} />
        </div>
      )}
      <p className="tabular mt-1 text-xs text-muted">
        {row.spent === null
          ? `at most ${money(row.limit)} a request`
          : `${money(row.spent)} spent and ${money(row.held)} held of ${money(row.limit)}`}
        {row.resets_at && `; again from ${time(row.resets_at)}`}
      </p>
    </li>
  );
}

function NewBudget({ open, close, renew }: { open: boolean; close: () => void; renew: () => Promise<void> }) {
  const tell = useTell();
  const [level, setLevel] = useState("org");
  const [subject, setSubject] = useState("");
  const [window, setWindow] = useState("month");
  const [limit, setLimit] = useState("");
  const [action, setAction] = useState("refuse");
  const body = { level, window, limit: Number(limit), action, ...(level === "org" ? {} : { subject: subject.trim() }) };
  const save = useMutation<BudgetRow, ApiError>({
    mutationFn: () => request("POST", "/governance/budgets", { body }),
    onSuccess: async () => {
      tell("Saved");
      close();
      await renew();
    },
  });
  return (
    <Modal open={open} close={close} title="Add a budget" note="One of the same level, subject and window is replaced.">
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate();
        }}
      >
        <Choice
          label="Level"
          value={level}
          options={{ org: "The organisation", user: "A user", key: "A key" }}
          change={setLevel}
        />
        {level !== "org" && (
          <Field label={level === "user" ? "User" : "Key id"}>
            {(id) => (
              <input
                id={id}
                required
                className={input}
                value={subject}
                onChange={(event) => setSubject(event.target.value)}
              />
            )}
          </Field>
        )}
        <Choice
          label="Window"
          value={window}
          options={{ month: "Month", day: "Day", request: "Request" }}
          change={setWindow}
        />
        <Field label="Dollars">
          {(id) => (
            <input
              id={id}
              type="number"
              required
              min="0.000001"
              step="any"
              className={input}
              value={limit}
              onChange={(event) => setLimit(event.target.value)}
            />
          )}
        </Field>
        <Choice
          label="When it is used up"
          value={action}
          options={{ refuse: "Refuse requests", warn: "Warn only" }}
          change={setAction}
          hint="Alerts are raised at 50, 80 and 100 %."
        />
        {save.error && (
          <p role="alert" className="rounded-lg bg-bad-soft px-3 py-2 text-sm text-bad">
            {save.error.message}
          </p>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Curl method="POST" path="/governance/budgets" call={{ body }} />
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={save.isPending}>
            {save.isPending ? "Saving…" : "Save budget"}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
