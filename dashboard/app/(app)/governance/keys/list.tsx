"use client";

import { PlusIcon } from "@heroicons/react/24/outline";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Choice, Field, input, Switch } from "@/components/field";
import { Confirm, Modal } from "@/components/modal";
import { Empty, Loaded } from "@/components/states";
import { Pager, Table } from "@/components/table";
import { useTell } from "@/components/toast";
import type { KeyPage, KeyRow, Made, Report } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { ago, cut, day, money } from "@/lib/numbers";
import { usePages } from "@/lib/pages";
import { useCan, useMe } from "@/lib/session";
import { NewKey } from "./new";
import { Secret } from "./secret";

const SOON = 14 * 86_400_000;

/** Keys with what may be done to them: of the organisation, or one's own. */
export function KeyList({ own = false }: { own?: boolean }) {
  const me = useMe();
  const manages = useCan("manage_users") && !own;
  const creates = useCan("manage_users");
  const spent = useSpent();
  const [revoked, setRevoked] = useState(false);
  const [user, setUser] = useState("");
  const pages = usePages();
  const [creating, setCreating] = useState(false);
  const [made, setMade] = useState<Made | null>(null);
  const [revoking, setRevoking] = useState<KeyRow | null>(null);
  const [rotating, setRotating] = useState<KeyRow | null>(null);
  const call = {
    query: { include_revoked: revoked, user_id: own ? me.user_id : user || null, limit: 50, cursor: pages.cursor },
  };
  const keys = useAnswer<KeyPage>("/governance/api-keys", call, { every: 30_000 });
  const expiring = (keys.data?.keys ?? []).filter((key) => !key.revoked && left(key) < SOON && left(key) > 0).length;
  return (
    <>
      <Card
        title={manages ? "Every key of the organisation" : "Your own keys"}
        note="Newest first."
        actions={
          <>
            {expiring > 0 && (
              <Badge tone="warn">{expiring === 1 ? "1 expires" : `${expiring} expire`} within 14 days</Badge>
            )}
            <Curl path="/governance/api-keys" call={call} />
            {creates && (
              <Button kind="primary" onClick={() => setCreating(true)}>
                <PlusIcon aria-hidden="true" className="size-4" /> Create key
              </Button>
            )}
          </>
        }
      >
        <div className="mb-4 flex flex-wrap items-end gap-4">
          {manages && (
            <Field label="User" className="w-full sm:w-56">
              {(id) => (
                <input
                  id={id}
                  data-search
                  className={input}
                  value={user}
                  placeholder="all users"
                  onChange={(event) => {
                    pages.first();
                    setUser(event.target.value.trim());
                  }}
                />
              )}
            </Field>
          )}
          <Switch
            label="Revoked ones too"
            checked={revoked}
            change={(next) => {
              pages.first();
              setRevoked(next);
            }}
          />
        </div>
        <Loaded
          query={keys}
          height="min-h-72"
          isEmpty={(data) => data.keys.length === 0}
          empty={
            <Empty
              title={user ? `No key of ${user}` : "No key yet"}
              action={creates && <Button onClick={() => setCreating(true)}>Create the first</Button>}
            >
              {manages ? "A key lets a program or a person in, with no more than its role and scopes say." : null}
            </Empty>
          }
          missing={
            <Empty title="This gateway keeps no keys">
              It lets everybody in who reaches it, or knows its keys from its file. Set <code>auth: keys</code> to make
              keys here.
            </Empty>
          }
        >
          {(data) => (
            <>
              <KeyTable
                rows={[...data.keys]}
                manages={manages}
                spent={spent}
                revoke={setRevoking}
                rotate={setRotating}
              />
              <Pager pages={pages} next={data.next_cursor} />
            </>
          )}
        </Loaded>
      </Card>
      <NewKey
        key={String(creating)}
        open={creating}
        close={() => setCreating(false)}
        made={(next) => {
          setCreating(false);
          setMade(next);
        }}
      />
      <Secret made={made} close={() => setMade(null)} />
      <Revoke row={revoking} close={() => setRevoking(null)} />
      <Rotate
        row={rotating}
        close={() => setRotating(null)}
        made={(next) => {
          setRotating(null);
          setMade(next);
        }}
      />
    </>
  );
}

/** What each key cost in 30 days, where the reader may know. */
function useSpent(): Record<string, number> | undefined {
  const paid = useCan("view_cost");
  const found = useAnswer<Report<Record<string, number>>>(
    "/analytics/cost-breakdown",
    { query: { period: "month", group_by: "key" } },
    { enabled: paid },
  );
  return found.data?.data;
}

function left(key: KeyRow): number {
  return new Date(key.expires_at).getTime() - Date.now();
}

function KeyTable({
  rows,
  manages,
  spent,
  revoke,
  rotate,
}: {
  rows: KeyRow[];
  manages: boolean;
  spent: Record<string, number> | undefined;
  revoke: (row: KeyRow) => void;
  rotate: (row: KeyRow) => void;
}) {
  return (
    <Table
      caption="API keys"
      rows={rows}
      id={(row) => row.key_id}
      columns={[
        { name: "Name", cell: (row) => <span title={row.name}>{cut(row.name || "unnamed")}</span> },
        { name: "Key", cell: (row) => <code className="break-all text-xs">{row.prefix}_…</code> },
        { name: "User", cell: (row) => row.user_id },
        { name: "Role", cell: (row) => <Badge>{row.role}</Badge> },
        { name: "Scopes", cell: (row) => row.scopes.join(", ") },
        { name: "Last used", cell: (row) => (row.last_used_at ? ago(row.last_used_at) : "never") },
        ...(spent
          ? [{ name: "30 days", right: true, cell: (row: KeyRow) => money(spent[row.key_id] ?? 0, "unknown") }]
          : []),
        {
          name: "Expires",
          cell: (row) => {
            if (row.revoked) return <Badge tone="bad">revoked</Badge>;
            if (left(row) <= 0) return <Badge tone="bad">expired</Badge>;
            const soon = left(row) < SOON;
            return (
              <span className={soon ? "font-medium text-warn" : undefined}>
                {day(row.expires_at)}
                {soon && " (soon)"}
              </span>
            );
          },
        },
        {
          name: "Actions",
          right: true,
          cell: (row) =>
            row.revoked || left(row) <= 0 ? null : (
              <span className="inline-flex flex-wrap justify-end gap-1">
                <Button size="small" onClick={() => rotate(row)} aria-label={`Rotate ${row.name || row.key_id}`}>
                  Rotate
                </Button>
                <Button
                  size="small"
                  kind="danger"
                  onClick={() => revoke(row)}
                  aria-label={`Revoke ${row.name || row.key_id}`}
                  title={manages ? undefined : "Your own key"}
                >
                  Revoke
                </Button>
              </span>
            ),
        },
      ]}
    />
  );
}

function useRenewed() {
  const client = useQueryClient();
  return () => client.invalidateQueries({ queryKey: ["/governance/api-keys"] });
}

function Revoke({ row, close }: { row: KeyRow | null; close: () => void }) {
  const tell = useTell();
  const renew = useRenewed();
  const revoke = useMutation<void, ApiError, KeyRow>({
    mutationFn: (key) => request("DELETE", "/governance/api-keys/{key_id}", { params: { key_id: key.key_id } }),
    onSuccess: async () => {
      tell("Revoked");
      close();
      await renew();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const name = row?.name || row?.key_id || "";
  return (
    <Confirm
      open={row !== null}
      close={close}
      title={`Revoke ${name}`}
      verb="Revoke"
      typed={name}
      busy={revoke.isPending}
      run={() => row && revoke.mutate(row)}
    >
      {row?.last_used_at ? `It was used ${ago(row.last_used_at)}. ` : "It was never used. "}
      Calls with it fail with 401 from then on, and its logins end. This cannot be undone.
    </Confirm>
  );
}

function Rotate({ row, close, made }: { row: KeyRow | null; close: () => void; made: (next: Made) => void }) {
  const tell = useTell();
  const renew = useRenewed();
  const [hours, setHours] = useState("24");
  const rotate = useMutation<Made, ApiError, KeyRow>({
    mutationFn: (key) =>
      request("POST", "/governance/api-keys/{key_id}/rotate", {
        params: { key_id: key.key_id },
        body: { overlap_hours: Number(hours) },
      }),
    onSuccess: async (next) => {
      made(next);
      await renew();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  return (
    <Modal open={row !== null} close={close} title={`Rotate ${row?.name || row?.key_id || ""}`}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (row) rotate.mutate(row);
        }}
      >
        <Choice
          label="The old key lives on for"
          value={hours}
          options={{ "0": "not at all", "24": "24 hours", "168": "7 days" }}
          change={setHours}
          hint="The new key works at once, with the same role, scopes and user."
        />
        <div className="flex justify-end gap-2">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" disabled={rotate.isPending}>
            {rotate.isPending ? "Rotating…" : "Rotate"}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
