"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "@/components/button";
import { Curl } from "@/components/curl";
import { Choice, Field, input } from "@/components/field";
import { Empty, Loaded } from "@/components/states";
import { Pager, Table } from "@/components/table";
import { useTell } from "@/components/toast";
import type { CacheEntry } from "@/lib/answers";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { ago, bytes, count, cut, duration, money } from "@/lib/numbers";
import { usePages } from "@/lib/pages";

/** Pages of entries, which the gateway filters and sorts. */
export function Entries() {
  const [tier, setTier] = useState("");
  const [text, setText] = useState("");
  const [beginning, setBeginning] = useState("");
  const [sort, setSort] = useState("created_at");
  const pages = usePages();
  const tell = useTell();
  const client = useQueryClient();
  const call = { query: { tier, q: beginning, sort, limit: 50, cursor: pages.cursor } };
  const found = useAnswer<{ entries: CacheEntry[]; next_cursor: string | null }>("/cache/entries", call, {
    every: 30_000,
  });
  const forget = useMutation<void, ApiError, string>({
    mutationFn: (id) => request("DELETE", "/cache/entries/{entry_id}", { params: { entry_id: id } }),
    onSuccess: async () => {
      tell("Removed");
      await client.invalidateQueries({ queryKey: ["/cache/entries"] });
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const fresh = (run: () => void) => {
    pages.first();
    run();
  };
  return (
    <>
      <form
        className="mb-4 flex flex-wrap items-end gap-3"
        onSubmit={(event) => {
          event.preventDefault();
          fresh(() => setBeginning(text));
        }}
      >
        <Choice
          label="Tier"
          className="w-full sm:w-40"
          value={tier}
          options={{ "": "All", "1": "Exact", "2": "Semantic", "3": "Intermediate" }}
          change={(next) => fresh(() => setTier(next))}
        />
        <Field label="Question begins with" className="w-full sm:w-64">
          {(id) => (
            <input
              id={id}
              data-search
              className={input}
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          )}
        </Field>
        <Button type="submit">Search</Button>
        <Curl path="/cache/entries" call={call} />
      </form>
      <Loaded
        query={found}
        height="min-h-64"
        isEmpty={(data) => data.entries.length === 0}
        empty={
          <Empty title="No entry">
            {beginning || tier ? "Nothing matches." : "Answers are kept as soon as requests come in."}
          </Empty>
        }
      >
        {(data) => (
          <>
            <Table
              caption="Cache entries"
              rows={data.entries}
              id={(row) => row.entry_id}
              sort={sort}
              sortBy={(next) => fresh(() => setSort(next))}
              columns={[
                {
                  name: "Question",
                  cell: (row) =>
                    row.query === undefined ? (
                      <span className="text-muted">not shown: prompts are not stored</span>
                    ) : (
                      <span title={row.query.slice(0, 400)}>{cut(row.query, 48) || "(empty)"}</span>
                    ),
                },
                { name: "Tier", cell: (row) => row.tier },
                { name: "Model", cell: (row) => row.model },
                { name: "Hits", right: true, sort: "hits", cell: (row) => count(row.hits) },
                { name: "Saved", right: true, cell: (row) => money(row.cost_saved) },
                { name: "Size", right: true, sort: "size", cell: (row) => bytes(row.size_bytes) },
                { name: "Made", right: true, sort: "created_at", cell: (row) => ago(row.created_at) },
                {
                  name: "Lives for",
                  right: true,
                  cell: (row) =>
                    row.ttl_left_s === undefined ? "ever" : row.ttl_left_s ? duration(row.ttl_left_s) : "expired",
                },
                {
                  name: "Actions",
                  right: true,
                  cell: (row) => (
                    <Button
                      size="small"
                      kind="danger"
                      disabled={forget.isPending}
                      aria-label={`Delete the entry of ${cut(row.query ?? row.entry_id, 30)}`}
                      onClick={() => forget.mutate(row.entry_id)}
                    >
                      Delete
                    </Button>
                  ),
                },
              ]}
            />
            <Pager pages={pages} next={data.next_cursor} />
          </>
        )}
      </Loaded>
    </>
  );
}
