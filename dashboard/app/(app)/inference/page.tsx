"use client";

import { useEffect, useRef, useState } from "react";
import { Card } from "@/components/card";
import { Page } from "@/components/page";
import { Empty } from "@/components/states";
import { Why } from "@/components/why";
import type { Models, Reply } from "@/lib/answers";
import { ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { streamed } from "@/lib/stream";
import { bodyOf, type Draft, EMPTY } from "./asking";
import { InferenceForm } from "./form";
import { Result, type Run } from "./result";

const KEPT = "asahi-draft";
const BESIDE = 3;

export default function Inference() {
  const [draft, setDraft] = useState<Draft>(EMPTY);
  const [runs, setRuns] = useState<Run[]>([]);
  const [why, setWhy] = useState<string | null>(null);
  const stop = useRef<AbortController | null>(null);
  const models = useAnswer<Models>("/models");
  const busy = runs[0]?.state === "running";

  useEffect(() => {
    try {
      const kept = sessionStorage.getItem(KEPT);
      if (kept) setDraft({ ...EMPTY, ...JSON.parse(kept) });
    } catch {
      // Nothing was kept.
    }
  }, []);
  const edit = (next: Draft) => {
    setDraft(next);
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(next));
    } catch {
      // It lives as long as the page.
    }
  };

  const run = async (dry: boolean) => {
    if (busy) return;
    const body = bodyOf(draft);
    const id = Date.now();
    const change = (next: Partial<Run>) =>
      setRuns((all) => all.map((each) => (each.id === id ? { ...each, ...next } : each)));
    setRuns((all) => [{ id, body, dry, text: "", state: "running", reply: null, error: null }, ...all.slice(0, 19)]);
    const abort = new AbortController();
    stop.current = abort;
    let text = "";
    try {
      const reply = dry
        ? await request<Reply>("POST", "/infer", { body: { ...body, dry_run: true }, signal: abort.signal })
        : await streamed({ ...body, stream: true }, abort.signal, (piece) => {
            text += piece;
            change({ text });
          });
      change({ reply, state: "done" });
    } catch (error) {
      if (error instanceof DOMException) change({ state: "stopped" });
      else if (error instanceof ApiError) change({ error, state: "failed" });
      else change({ error: new ApiError(0, "unknown", String(error)), state: "failed" });
    }
  };

  return (
    <Page title="Inference" note="Ask as your callers do, and see what it costs, which model answers, and why.">
      <div className="grid items-start gap-4 xl:grid-cols-2">
        <InferenceForm
          draft={draft}
          edit={edit}
          models={models.data}
          busy={busy}
          run={() => void run(false)}
          ask={() => void run(true)}
          stop={() => stop.current?.abort()}
        />
        <div className="min-w-0 space-y-4" aria-live="polite">
          {runs.length === 0 ? (
            <Card title="Answer">
              <Empty title="Nothing asked yet">
                Ask the same twice to see the cache answer. Change mode or model and ask again: answers stay side by
                side, {BESIDE} at most, as long as this tab is open.
              </Empty>
            </Card>
          ) : (
            runs.slice(0, BESIDE).map((each) => <Result key={each.id} run={each} why={setWhy} />)
          )}
        </div>
      </div>
      <Why id={why} close={() => setWhy(null)} />
    </Page>
  );
}
