"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Loaded, Refused } from "@/components/states";
import { useTell } from "@/components/toast";
import type { Models, Policy } from "@/lib/answers";
import { type ApiError, get, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { time } from "@/lib/numbers";
import { useCan, useMe } from "@/lib/session";
import { bodyOf, type Draft, differences, draftOf } from "./draft";
import { PolicyForm } from "./form";
import { History } from "./history";
import { Conflict, Review } from "./review";

interface Newest {
  versions: Policy[];
}

/** The newest version; null where the operator's default holds, which is an answer and no error. */
function usePolicy(org: string) {
  return useAnswer<Newest>("/governance/policies/{org}/history", { params: { org }, query: { limit: 1 } });
}

/** One that was removed goes on counting its versions, and holds nothing. */
function live(policy: Policy | null): Policy | null {
  return policy?.deleted ? null : policy;
}

async function newest(org: string): Promise<Policy | null> {
  const call = { params: { org }, query: { limit: 1 } };
  return (await get<Newest>("/governance/policies/{org}/history", call)).versions[0] ?? null;
}

export function PolicySection() {
  const me = useMe();
  const found = usePolicy(me.org_id);
  const models = useAnswer<Models>("/models");
  return (
    <Loaded query={found} height="min-h-[40rem]">
      {({ versions }) => (
        <Editor
          policy={versions[0] ?? null}
          org={me.org_id}
          models={models.data?.models.map((each) => each.name) ?? []}
        />
      )}
    </Loaded>
  );
}

function Editor({ policy, org, models }: { policy: Policy | null; org: string; models: string[] }) {
  const manages = useCan("manage_policy");
  const tell = useTell();
  const client = useQueryClient();
  const [base, setBase] = useState(policy);
  const [draft, setDraft] = useState<Draft>(draftOf(live(policy)));
  const [reviewing, setReviewing] = useState(false);
  const [conflict, setConflict] = useState<Policy | null>(null);
  const [history, setHistory] = useState(false);
  const changed = differences(draftOf(live(base)), draft);
  const untouched = changed.length === 0;
  useEffect(() => {
    if (untouched && (policy?.version ?? 0) > (base?.version ?? 0)) {
      setBase(policy);
      setDraft(draftOf(live(policy)));
    }
  }, [policy, base, untouched]);
  const call = { params: { org }, body: bodyOf(draft), headers: { "if-match": String(base?.version ?? 0) } };
  const renew = () => client.invalidateQueries({ queryKey: ["/governance/policies/{org}/history"] });
  const save = useMutation<{ version: number }, ApiError>({
    mutationFn: () => request("POST", "/governance/policies/{org}", call),
    onSuccess: async (told) => {
      tell(`Saved as version ${told.version}`);
      setReviewing(false);
      const next = await newest(org);
      setBase(next);
      setDraft(draftOf(live(next)));
      await renew();
    },
    onError: async (error) => {
      if (error.status !== 409) return tell(error.message, "bad");
      setReviewing(false);
      setConflict(await newest(org));
    },
  });
  return (
    <Card
      title={`Policy of ${org}`}
      note={
        live(base)?.updated_at && base?.updated_at
          ? `Version ${base.version}, saved ${time(base.updated_at)} by ${base.updated_by ?? "somebody unknown"}`
          : "No policy of its own: the operator's default holds. Saving makes the first version."
      }
      actions={
        <>
          <Button onClick={() => setHistory(true)}>History</Button>
          <Curl
            method={manages ? "POST" : "GET"}
            path="/governance/policies/{org}"
            call={manages ? call : { params: { org } }}
          />
        </>
      }
    >
      <PolicyForm draft={draft} edit={setDraft} models={models} locked={!manages} />
      {save.error && save.error.status !== 409 && <Refused error={save.error} />}
      {manages && (
        <div className="mt-5 flex flex-wrap items-center justify-end gap-2 border-t border-line pt-4">
          <span className="mr-auto text-sm text-muted">
            {untouched
              ? "Nothing changed"
              : `${changed.length} ${changed.length === 1 ? "change" : "changes"} not saved`}
          </span>
          <Button disabled={untouched} onClick={() => setDraft(draftOf(live(base)))}>
            Discard
          </Button>
          <Button kind="primary" disabled={untouched} onClick={() => setReviewing(true)}>
            Review
          </Button>
        </div>
      )}
      <Review
        open={reviewing}
        close={() => setReviewing(false)}
        org={org}
        body={bodyOf(draft)}
        changed={changed}
        busy={save.isPending}
        save={() => save.mutate()}
      />
      <Conflict
        theirs={conflict}
        mine={draft}
        keep={() => {
          setBase(conflict);
          setConflict(null);
          setReviewing(true);
        }}
        take={() => {
          setBase(conflict);
          setDraft(draftOf(live(conflict)));
          setConflict(null);
        }}
        close={() => setConflict(null)}
      />
      <History open={history} close={() => setHistory(false)} org={org} />
    </Card>
  );
}
