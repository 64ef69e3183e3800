"use client";

import { QueryCache, QueryClient, useQuery } from "@tanstack/react-query";
import { ApiError, type Call, get, type Path, type Query } from "./api";
import { usePaused } from "./live";
import { BASE_PATH, here } from "./nav";

/** The login is over: back to its page, and from there to where the reader was. */
function leave(error: unknown): void {
  if (!(error instanceof ApiError) || error.status !== 401) return;
  if (here().startsWith("/login/") || here() === "/") return;
  window.location.assign(`${BASE_PATH}/login/?next=${encodeURIComponent(here())}`);
}

export function makeClient(): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({ onError: leave }),
    defaultOptions: {
      queries: {
        retry: (failed, error) =>
          failed < 1 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
        retryDelay: 1_000,
      },
      mutations: { onError: leave },
    },
  });
}

const BACKOFF = [30_000, 60_000, 120_000];

interface Manner {
  /** Ask again after so many milliseconds while the tab is seen; 0 asks once. After an error it waits longer. */
  every?: number;
  enabled?: boolean;
  /** The answer to the question before is shown until this one's is there, if these parameters are the same: else the
   * two would be mistaken. */
  same?: string[];
  /** Only when the reader says so: asking leaves an entry in the audit log, or costs the gateway much. */
  once?: boolean;
}

export function useAnswer<T>(
  path: Path,
  call: Call = {},
  { every = 0, enabled = true, same = [], once = false }: Manner = {},
) {
  const paused = usePaused();
  const asked = { ...call.params, ...call.query };
  return useQuery<T, ApiError, T, readonly [Path, Query]>({
    queryKey: [path, asked],
    queryFn: ({ signal }) => get<T>(path, { ...call, signal }),
    enabled,
    placeholderData: (before, last) =>
      same.every((name) => last?.queryKey[1][name] === asked[name]) ? before : undefined,
    staleTime: once ? Number.POSITIVE_INFINITY : 5_000,
    refetchOnWindowFocus: !once,
    refetchInterval: (query) => {
      if (!every || paused) return false;
      if (query.state.status !== "error") return every;
      return BACKOFF[Math.min(query.state.errorUpdateCount, BACKOFF.length) - 1] ?? every;
    },
  });
}
