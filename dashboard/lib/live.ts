"use client";

import { useSyncExternalStore } from "react";

/** Whether pages renew themselves: a reader may hold them still. */
let paused = false;
const listeners = new Set<() => void>();

export function setPaused(next: boolean): void {
  paused = next;
  for (const told of listeners) told();
}

export function usePaused(): boolean {
  return useSyncExternalStore(
    (told) => {
      listeners.add(told);
      return () => listeners.delete(told);
    },
    () => paused,
    () => false,
  );
}
