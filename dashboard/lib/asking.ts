"use client";

import { QueryCache, QueryClient, useQuery } from "@tanstack/react-query";
import { ApiError, type Call, get, type Path } from "./api";
import { isPaused } from "./live";
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
        staleTime: 5_000,
        refetchOnWindowFocus: true,
        retry: (failed, error) =>
          failed < 1 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
        retryDelay: 1_000,
      },
      mutations: { onError: leave },
    },
  });
}

const BACKOFF = [30_000, 60_000, 120_000];

/** Ask, and ask again while the tab is seen. `every` 0 asks once; after an error it waits longer. */
export function useAnswer<T>(path: Path, call: Call = {}, { every = 0, enabled = true } = {}) {
  return useQuery<T, ApiError>({
    queryKey: [path, call.params ?? {}, call.query ?? {}],
    queryFn: ({ signal }) => get<T>(path, { ...call, signal }),
    enabled,
    placeholderData: (before) => before,
    refetchInterval: (query) => {
      if (!every || isPaused()) return false;
      if (query.state.status !== "error") return every;
      return BACKOFF[Math.min(query.state.errorUpdateCount, BACKOFF.length) - 1] ?? every;
    },
  });
}
