"use client";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Badge } from "@/components/badge";
import { Button } from "@/components/button";
import { Card } from "@/components/card";
import { Curl } from "@/components/curl";
import { Empty, Loaded } from "@/components/states";
import { Table } from "@/components/table";
import { useTell } from "@/components/toast";
import { type ApiError, request } from "@/lib/api";
import { useAnswer } from "@/lib/asking";
import { ago, time } from "@/lib/numbers";

interface Session {
  session_id: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  current: boolean;
}

/** Where the reader is logged in, and the end of that. */
export function Sessions() {
  const found = useAnswer<{ sessions: Session[] }>("/auth/sessions", {}, { every: 30_000 });
  const tell = useTell();
  const client = useQueryClient();
  const end = useMutation<unknown, ApiError, string | null>({
    mutationFn: (session) =>
      session === null
        ? request("DELETE", "/auth/sessions")
        : request("DELETE", "/auth/sessions/{session}", { params: { session } }),
    onSuccess: async () => {
      tell("Logged out there");
      await client.invalidateQueries({ queryKey: ["/auth/sessions"] });
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const others = (found.data?.sessions ?? []).some((each) => !each.current);
  return (
    <Card
      title="Where you are logged in"
      note="A login ends by itself after an hour without use, twelve hours in all, or with its key."
      actions={
        <>
          <Curl path="/auth/sessions" />
          <Button disabled={!others || end.isPending} onClick={() => end.mutate(null)}>
            Log out everywhere else
          </Button>
        </>
      }
    >
      <Loaded
        query={found}
        height="min-h-48"
        isEmpty={(data) => data.sessions.length === 0}
        empty={<Empty title="No login: this page was opened with a key" />}
        missing={<Empty title="This gateway has no logins" />}
      >
        {(data) => (
          <Table
            caption="Logins"
            rows={data.sessions}
            id={(row) => row.session_id}
            columns={[
              { name: "Since", cell: (row) => time(row.created_at) },
              { name: "Last seen", cell: (row) => ago(row.last_seen_at) },
              { name: "Ends", cell: (row) => time(row.expires_at) },
              {
                name: "Actions",
                right: true,
                cell: (row) =>
                  row.current ? (
                    <Badge tone="good">this one</Badge>
                  ) : (
                    <Button
                      size="small"
                      disabled={end.isPending}
                      aria-label={`Log out there, since ${time(row.created_at)}`}
                      onClick={() => end.mutate(row.session_id)}
                    >
                      Log out there
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}
