"use client";

import { CheckIcon } from "@heroicons/react/24/outline";
import type { ReactNode } from "react";
import type { Explained, Turn } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { count, DASH, milliseconds, money, percent, quality, share, time } from "@/lib/numbers";
import { Badge } from "./badge";
import { Copy } from "./copy";
import { Curl } from "./curl";
import { Modal } from "./modal";
import { Empty, Loaded } from "./states";
import type { Steps } from "./stepper";
import { Table } from "./table";

/** Why a request was answered as it was, in a drawer; without an id it is closed. */
export function Why({ id, close, steps }: { id: string | null; close: () => void; steps?: Steps }) {
  const query = useAnswer<Explained>(
    "/explain/{request_id}",
    { params: { request_id: id ?? "" } },
    { enabled: id !== null, same: ["request_id"] },
  );
  return (
    <Modal
      open={id !== null}
      close={close}
      title="Why this answer"
      drawer
      steps={steps}
      note={id && <RequestId id={id} />}
    >
      {id && (
        <Loaded
          query={query}
          height="min-h-96"
          missing={<Empty title="No record of this request">Its record may have passed the retention time.</Empty>}
        >
          {(told) => <Told told={told} />}
        </Loaded>
      )}
    </Modal>
  );
}

function RequestId({ id }: { id: string }) {
  return (
    <span className="flex flex-wrap items-center gap-1">
      <code className="break-all text-xs">{id}</code>
      <Copy text={id} label="Copy the request id" />
      <Curl path="/explain/{request_id}" call={{ params: { request_id: id } }} />
    </span>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="border-t border-line pt-4">
      <h3 className="mb-2 text-sm font-semibold">{title}</h3>
      {children}
    </section>
  );
}

/** The record itself, also shown beside an answer on the Inference page. */
export function Told({ told }: { told: Explained }) {
  const { money: paid } = told;
  const saved = paid?.saved ?? null;
  const part = saved !== null && paid?.baseline_cost ? (100 * saved) / paid.baseline_cost : null;
  return (
    <div className="space-y-4 text-sm">
      <p className="text-base first-letter:uppercase">{told.reason || "No reason was recorded."}</p>
      <dl className="grid grid-cols-2 gap-3 sm:grid-cols-4">
        {[
          ["Mode", told.mode],
          ["Task", told.task.type],
          ["Difficulty", told.difficulty?.bucket ?? DASH],
          ["At", time(told.timestamp, true)],
        ].map(([name, value]) => (
          <div key={name}>
            <dt className="text-xs text-muted">{name}</dt>
            <dd className="break-words font-medium">{value}</dd>
          </div>
        ))}
      </dl>
      {paid && (
        <Part title="Money">
          <p className="tabular">
            Cost {money(paid.cost)}; {paid.baseline_model ?? "the baseline"} would have asked{" "}
            {money(paid.baseline_cost)}.{" "}
            <strong>
              Saved {money(saved)}
              {part !== null && ` (${percent(part)} of the baseline)`}
            </strong>
            . Prices: {paid.price_version ?? "unknown"}.
          </p>
        </Part>
      )}
      <Part title="Caches">
        <ul className="space-y-1">
          {told.cache.map((each) => (
            <li key={each.tier} className="flex flex-wrap items-center gap-2">
              <Badge tone={each.hit ? "good" : "plain"}>
                Tier {each.tier}: {each.hit ? "hit" : each.asked ? "miss" : "not asked"}
              </Badge>
              <span className="text-muted">
                {each.reason}
                {each.similarity !== null &&
                  each.similarity !== undefined &&
                  ` (similarity ${each.similarity.toFixed(3)})`}
              </span>
            </li>
          ))}
        </ul>
      </Part>
      <Candidates told={told} />
      <KeptWords told={told} />
      {told.attempts.length > 0 && (
        <Part title="Calls">
          <ul className="space-y-1">
            {told.attempts.map((each) => (
              <li key={each.n} className="tabular">
                {each.n}. {each.model} at {each.provider}: {each.outcome}
                {each.http_status ? ` (${each.http_status})` : ""}, {milliseconds(each.latency_ms)},{" "}
                {count(each.input_tokens)} + {count(each.output_tokens)} tokens, {money(each.cost)}
              </li>
            ))}
          </ul>
        </Part>
      )}
    </div>
  );
}

/** What was asked and answered, or why it is not there. */
function KeptWords({ told: { words } }: { told: Explained }) {
  if (!words.kept) {
    return (
      <Part title="Kept words">
        <p className="text-muted first-letter:uppercase">{words.reason}.</p>
      </Part>
    );
  }
  return (
    <Part title="Kept words">
      <Turns title="Asked" turns={words.request} />
      <Turns title="Answered" turns={words.response} />
      <p className="mt-2 text-xs text-muted">Kept until {time(words.expires_at)}.</p>
    </Part>
  );
}

const TURN = "max-h-60 overflow-y-auto whitespace-pre-wrap break-words rounded border border-line bg-surface p-2";

function Turns({ title, turns }: { title: string; turns: Turn[] }) {
  return (
    <dl className="space-y-2">
      {turns.map((turn, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: what was said does not change its place
        <div key={at}>
          <dt className="text-xs text-muted">
            {title}, {turn.role.replace("_", " ")}
          </dt>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a long text is scrolled by the keyboard */}
          <dd className={TURN} tabIndex={0}>
            {turn.text ?? ""}
            {turn.cut !== undefined && (
              <span className="text-muted"> … {count(turn.cut)} characters were not kept</span>
            )}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Candidates({ told }: { told: Explained }) {
  if (!told.candidates.length) return null;
  return (
    <Part title={`Candidates (${told.candidates.length})`}>
      <Table
        caption="Candidates"
        id={(row) => row.model}
        rows={told.candidates}
        columns={[
          {
            name: "Model",
            cell: (row) => (
              <span className={row.chosen ? "font-semibold" : undefined}>
                {row.chosen && <CheckIcon aria-label="chosen" className="mr-1 inline size-4 text-good" />}
                {row.model}
              </span>
            ),
          },
          { name: "Quality", right: true, cell: (row) => quality(row.predicted_quality) },
          { name: "Cost", right: true, cell: (row) => money(row.estimated_cost) },
          { name: "Latency", right: true, cell: (row) => milliseconds(row.latency_ms) },
          {
            name: "Verdict",
            cell: (row) => (row.chosen ? "chosen" : row.reason ? `${row.refused_by}: ${row.reason}` : DASH),
          },
        ]}
      />
      {told.required.quality !== undefined && (
        <p className="mt-2 text-xs text-muted">
          Asked for: quality {quality(told.required.quality)}, latency {milliseconds(told.required.latency_ms)}, cost{" "}
          {money(told.required.cost, "unbounded")}.
          {told.task.confidence !== undefined && ` Task told with confidence ${share(told.task.confidence, 0)}.`}
        </p>
      )}
    </Part>
  );
}
