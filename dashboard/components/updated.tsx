"use client";

import { PauseIcon, PlayIcon } from "@heroicons/react/24/outline";
import { useEffect, useState } from "react";
import { setPaused, usePaused } from "@/lib/live";
import { ago } from "@/lib/numbers";
import { Button } from "./button";

/** How old what is shown is, and a way to hold it still. */
export function Updated({ at }: { at: number }) {
  const paused = usePaused();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5_000);
    return () => clearInterval(timer);
  }, []);
  const Icon = paused ? PlayIcon : PauseIcon;
  return (
    <span className="flex basis-full items-center gap-1 text-sm text-muted sm:basis-auto">
      <span className="tabular">{at ? `Updated ${ago(at, Math.max(now, at))}` : "Loading"}</span>
      <Button
        kind="quiet"
        size="icon"
        aria-label={paused ? "Renew again" : "Pause renewal"}
        onClick={() => setPaused(!paused)}
      >
        <Icon aria-hidden="true" className="size-4" />
      </Button>
    </span>
  );
}
