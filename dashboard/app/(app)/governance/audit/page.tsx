"use client";

import { CheckCircleIcon, ExclamationTriangleIcon } from "@heroicons/react/24/outline";
import { useMemo, useState } from "react";
import { Badge } from "@/components/badge";
import { Button, buttonStyle } from "@/components/button";
import { Card } from "@/components/card";
import { Copy } from "@/components/copy";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Modal } from "@/components/modal";
import { Page } from "@/components/page";
import { RangePicker } from "@/components/rangepicker";
import { Empty, Loaded } from "@/components/states";
import { type Steps, stepsOf } from "@/components/stepper";
import { Pager, Table } from "@/components/table";
import type { AuditEntry, AuditPage, Verdict } from "@/lib/answers";
import { type Query, urlOf } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { count, cut, time } from "@/lib/numbers";
import { usePages } from "@/lib/pages";
import { type Range, useQueryState, useRange } from "@/lib/range";

const DAYS: Record<string, number> = { "24h": 1, "7d": 7, "30d": 30, "90d": 90 };
const RESULTS = { "": "Any result", success: "Success", denied: "Denied", error: "Error" };

/** The log takes two times: the beginning is a whole minute, so that the same page is asked for once. */
function bounds(range: Range): Query {
  if (range.name === "custom") return { from: range.from, to: range.to };
  const minute = Math.floor(Date.now() / 60_000) * 60_000;
  return { from: new Date(minute - (DAYS[range.name] ?? 7) * 86_400_000).toISOString() };
}

export default function Audit() {
  const [range, setRange] = useRange();
  const [asked, ask] = useQueryState();
  const [since] = useState(() => Date.now());
  const pages = usePages();
  const filters = { action: asked.get("action"), user_id: asked.get("user"), result: asked.get("result") };
  const times = useMemo(() => bounds(range), [range]);
  const query = { ...times, ...filters };
  const call = { query: { ...query, limit: 50, cursor: pages.cursor } };
  const page = useAnswer<AuditPage>("/governance/audit", call, { once: true });
  const id = asked.get("id");
  const entry = page.data?.entries.find((each) => each.entry_id === id) ?? null;
  const change = (next: Partial<Range>) => {
    pages.first();
    setRange(next);
  };
  const filter = (next: Record<string, string | null>) => {
    pages.first();
    ask(next);
  };
  return (
    <Page
      title="Audit log"
      note="Who did what. Opening and exporting the log are entries of it too."
      actions={
        <>
          <Button disabled={page.isFetching} onClick={() => void page.refetch()}>
            Refresh
          </Button>
          <RangePicker range={range} change={change} />
          <a
            className={buttonStyle()}
            href={urlOf("/governance/audit/export", { query: { ...query, format: "csv" } })}
            download
          >
            Export CSV
          </a>
          <a
            className={buttonStyle()}
            href={urlOf("/governance/audit/export", { query: { ...query, format: "json" } })}
            download
          >
            Export JSON
          </a>
        </>
      }
    >
      <Chain since={since} />
      <Card>
        <Filters asked={asked} filter={filter} call={call} />
        <Loaded
          query={page}
          height="min-h-96"
          isEmpty={(data) => data.entries.length === 0}
          empty={
            <Empty
              title="Nothing recorded in this range"
              action={<Button onClick={() => change({ name: "30d", from: null, to: null })}>Widen to 30 days</Button>}
            />
          }
        >
          {(data) => (
            <>
              <Entries rows={[...data.entries]} opened={id} open={(next) => ask({ id: next })} />
              <Pager pages={pages} next={data.next_cursor} />
            </>
          )}
        </Loaded>
      </Card>
      <Details
        entry={entry}
        close={() => ask({ id: null })}
        steps={stepsOf(
          (page.data?.entries ?? []).map((each) => each.entry_id),
          id,
          (next) => ask({ id: next }),
        )}
        same={(next) => {
          pages.first();
          ask({ id: null, ...next });
        }}
      />
    </Page>
  );
}

/** Whether the log is what was written and signed: asked once, and again on demand. */
function Chain({ since }: { since: number }) {
  const verdict = useAnswer<Verdict>("/governance/audit/verify", {}, { once: true });
  return (
    <Card>
      <Loaded query={verdict} height="min-h-10">
        {(told) => (
          <div className="flex flex-wrap items-center gap-3 text-sm">
            {told.ok ? (
              <CheckCircleIcon aria-hidden="true" className="size-6 text-good" />
            ) : (
              <ExclamationTriangleIcon aria-hidden="true" className="size-6 text-bad" />
            )}
            <p className="min-w-0 flex-1 basis-56">
              {told.ok ? (
                <>
                  <strong>Chain intact:</strong> {count(told.entries)} entries, checked{" "}
                  {time(new Date(verdict.dataUpdatedAt || since).toISOString())}.{" "}
                </>
              ) : (
                <strong className="text-bad">
                  Broken{told.first_bad_seq ? ` at entry ${told.first_bad_seq}` : ""}: {told.message}.{" "}
                </strong>
              )}
              {told.checkpoint ? (
                <span className="text-muted">
                  Last signed at {count(told.checkpoint.size)} entries, {time(told.checkpoint.signed_at)}, root{" "}
                  <code>{told.checkpoint.root.slice(0, 8)}…</code>
                </span>
              ) : (
                <span className="text-muted">Nothing is signed yet.</span>
              )}
            </p>
            <Button disabled={verdict.isFetching} onClick={() => void verdict.refetch()}>
              {verdict.isFetching ? "Verifying…" : "Verify now"}
            </Button>
          </div>
        )}
      </Loaded>
    </Card>
  );
}

function Filters({
  asked,
  filter,
  call,
}: {
  asked: URLSearchParams;
  filter: (next: Record<string, string | null>) => void;
  call: { query: Query };
}) {
  const [action, setAction] = useState(asked.get("action") ?? "");
  const [user, setUser] = useState(asked.get("user") ?? "");
  const any = ["action", "user", "result"].some((name) => asked.get(name));
  return (
    <form
      className="mb-4 flex flex-wrap items-end gap-3"
      onSubmit={(event) => {
        event.preventDefault();
        filter({ action: action.trim(), user: user.trim() });
      }}
    >
      <Field label="Action" className="w-full sm:w-48">
        {(id) => (
          <input
            id={id}
            data-search
            className={input}
            value={action}
            placeholder="such as policy_update"
            onChange={(event) => setAction(event.target.value)}
          />
        )}
      </Field>
      <Field label="User" className="w-full sm:w-40">
        {(id) => (
          <input
            id={id}
            className={input}
            value={user}
            placeholder="anybody"
            onChange={(event) => setUser(event.target.value)}
          />
        )}
      </Field>
      <Choice
        label="Result"
        className="w-full sm:w-40"
        value={asked.get("result") ?? ""}
        options={RESULTS}
        change={(result) => filter({ result })}
      />
      <Button type="submit">Search</Button>
      {any && (
        <Button
          kind="quiet"
          onClick={() => {
            setAction("");
            setUser("");
            filter({ action: null, user: null, result: null });
          }}
        >
          Clear
        </Button>
      )}
      <Curl path="/governance/audit" call={call} />
    </form>
  );
}

function ResultBadge({ result }: { result: string }) {
  return <Badge tone={result === "success" ? "good" : "bad"}>{result}</Badge>;
}

function Entries({ rows, opened, open }: { rows: AuditEntry[]; opened: string | null; open: (id: string) => void }) {
  return (
    <Table
      caption="Audit entries; each opens its details"
      rows={rows}
      id={(row) => row.entry_id}
      open={(row) => open(row.entry_id)}
      opened={opened}
      columns={[
        { name: "Time", cell: (row) => <span className="whitespace-nowrap">{time(row.timestamp, true)}</span> },
        { name: "Who", cell: (row) => cut(row.user_id ?? "–") },
        { name: "Action", cell: (row) => row.action.replaceAll("_", " ") },
        { name: "Resource", cell: (row) => <span title={row.resource}>{cut(row.resource)}</span> },
        { name: "From", wide: true, cell: (row) => row.ip_address ?? "–" },
        { name: "Result", cell: (row) => <ResultBadge result={row.result} /> },
      ]}
    />
  );
}

function Details({
  entry,
  close,
  steps,
  same,
}: {
  entry: AuditEntry | null;
  close: () => void;
  steps: Steps;
  same: (next: Record<string, string>) => void;
}) {
  const rows: [string, string | null | undefined][] = entry
    ? [
        ["Time", new Date(entry.timestamp).toISOString()],
        ["Who", entry.user_id],
        ["Resource", entry.resource],
        ["Address", entry.ip_address],
        ["Agent", entry.user_agent],
        ["Class", entry.data_classification],
        ["Number", String(entry.seq)],
        ["Entry", entry.entry_id],
      ]
    : [];
  const hashes: [string, string][] = entry
    ? [
        ["Hash before", entry.prev_hash],
        ["Hash", entry.entry_hash],
        ["Hash of the details", entry.details_hash],
      ]
    : [];
  return (
    <Modal open={entry !== null} close={close} drawer steps={steps} title={entry?.action.replaceAll("_", " ") ?? ""}>
      {entry && (
        <div className="space-y-5 text-sm">
          <ResultBadge result={entry.result} />
          <dl className="grid grid-cols-[auto_minmax(0,1fr)] gap-x-4 gap-y-2">
            {rows.map(([name, value]) => (
              <div key={name} className="contents">
                <dt className="text-muted">{name}</dt>
                <dd className="break-words">{value || "–"}</dd>
              </div>
            ))}
          </dl>
          <section>
            <h3 className="mb-1 font-semibold">Details</h3>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
            <pre tabIndex={0} className="max-h-80 overflow-auto rounded-lg bg-surface p-3 text-xs">
              {JSON.stringify(entry.details, null, 2)}
            </pre>
          </section>
          <dl className="space-y-2">
            {hashes.map(([name, value]) => (
              <div key={name}>
                <dt className="text-muted">{name}</dt>
                <dd className="flex items-center gap-1">
                  <code className="break-all text-xs">{value}</code>
                  <Copy text={value} label={`Copy: ${name}`} />
                </dd>
              </div>
            ))}
          </dl>
          <div className="flex flex-wrap gap-2">
            {entry.user_id && <Button onClick={() => same({ user: entry.user_id ?? "" })}>Same user</Button>}
            <Button onClick={() => same({ action: entry.action })}>Same action</Button>
          </div>
        </div>
      )}
    </Modal>
  );
}
