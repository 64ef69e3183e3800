"use client";

import { useQuery } from "@tanstack/react-query";
import { Button } from "@/components/button";
import { Modal } from "@/components/modal";
import { Loaded } from "@/components/states";
import { Table } from "@/components/table";
import type { Policy } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { count, money } from "@/lib/numbers";
import { type Draft, differences, draftOf } from "./draft";

interface Preview {
  requests: number;
  refused: number;
  rerouted: number;
  reasons: Record<string, number>;
  cost: number | null;
  cost_under_policy: number | null;
  cost_difference: number | null;
}

/** What a save would change, and what it would have done to the last seven days. */
export function Review({
  open,
  close,
  org,
  body,
  changed,
  busy,
  save,
}: {
  open: boolean;
  close: () => void;
  org: string;
  body: Record<string, unknown>;
  changed: [string, string, string][];
  busy: boolean;
  save: () => void;
}) {
  const preview = useQuery<Preview, ApiError>({
    queryKey: ["preview", org, body],
    queryFn: ({ signal }) => request("POST", "/governance/policies/{org}/preview", { params: { org }, body, signal }),
    enabled: open,
    retry: false,
  });
  return (
    <Modal open={open} close={close} title="Review the changes" drawer>
      <div className="space-y-5">
        <Changes rows={changed} old="Now" next="Then" />
        <section>
          <h3 className="mb-2 text-sm font-semibold">What if: the last seven days replayed</h3>
          <Loaded query={preview} height="min-h-24">
            {(told) => (
              <div className="tabular space-y-1 text-sm">
                <p>
                  <strong>
                    {count(told.refused)} of {count(told.requests)} requests refused
                  </strong>
                  {Object.keys(told.reasons).length > 0 &&
                    ` (${Object.entries(told.reasons)
                      .map(([reason, times]) => `${count(times)} ${reason.replaceAll("_", " ")}`)
                      .join(", ")})`}
                  , {count(told.rerouted)} sent to another model.
                </p>
                <p>
                  Cost {money(told.cost_under_policy)} instead of {money(told.cost)} (difference{" "}
                  {money(told.cost_difference)}).
                </p>
              </div>
            )}
          </Loaded>
        </section>
        <div className="flex justify-end gap-2">
          <Button onClick={close}>Back</Button>
          <Button kind="primary" disabled={busy || preview.isError || preview.isPending} onClick={save}>
            {busy ? "Saving…" : "Save policy"}
          </Button>
        </div>
      </div>
    </Modal>
  );
}

/** Somebody saved meanwhile: both versions, and the choice between them. */
export function Conflict({
  theirs,
  mine,
  keep,
  take,
  close,
}: {
  theirs: Policy | null;
  mine: Draft;
  keep: () => void;
  take: () => void;
  close: () => void;
}) {
  return (
    <Modal
      open={theirs !== null}
      close={close}
      drawer
      title="Somebody saved meanwhile"
      note={
        theirs &&
        `Version ${theirs.version} is by ${theirs.updated_by ?? "somebody unknown"}. Nothing of yours was saved.`
      }
    >
      {theirs && (
        <div className="space-y-5">
          <Changes rows={differences(draftOf(theirs.deleted ? null : theirs), mine)} old="Theirs" next="Mine" />
          <div className="flex flex-wrap justify-end gap-2">
            <Button onClick={take}>Take theirs</Button>
            <Button kind="primary" onClick={keep}>
              Keep mine, review again
            </Button>
          </div>
        </div>
      )}
    </Modal>
  );
}

function Changes({ rows, old, next }: { rows: [string, string, string][]; old: string; next: string }) {
  if (!rows.length) return <p className="text-sm text-muted">There is no difference.</p>;
  return (
    <Table
      caption="Changes"
      rows={rows}
      id={(row) => row[0]}
      columns={[
        { name: "What", cell: (row) => row[0] },
        { name: old, cell: (row) => <span className="break-words">{row[1]}</span> },
        { name: next, cell: (row) => <strong className="break-words">{row[2]}</strong> },
      ]}
    />
  );
}
