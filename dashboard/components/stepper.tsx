"use client";

import { ChevronDownIcon, ChevronUpIcon } from "@heroicons/react/24/outline";
import { useEffect } from "react";
import { keysOn, meant } from "@/lib/keys";
import { Button } from "./button";

/** From the row that a drawer shows to the one before and the one after it; absent at the ends of the list. */
export interface Steps {
  /** The row that is shown now, where the focus goes when the drawer is closed. */
  row: string | null;
  back?: () => void;
  on?: () => void;
}

export function stepsOf(ids: string[], id: string | null, open: (id: string) => void): Steps {
  const at = id === null ? -1 : ids.indexOf(id);
  const before = ids[at - 1];
  const after = ids[at + 1];
  return {
    row: id,
    back: at > 0 && before !== undefined ? () => open(before) : undefined,
    on: at >= 0 && after !== undefined ? () => open(after) : undefined,
  };
}

/** Two buttons, and the keys J and K. */
export function Stepper({ steps }: { steps: Steps }) {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (!keysOn() || !meant(event)) return;
      if (event.key === "j") steps.on?.();
      else if (event.key === "k") steps.back?.();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [steps]);
  return (
    <>
      <Button
        kind="quiet"
        size="icon"
        aria-label="Previous"
        title="Previous (K)"
        disabled={!steps.back}
        onClick={steps.back}
      >
        <ChevronUpIcon aria-hidden="true" className="size-5" />
      </Button>
      <Button kind="quiet" size="icon" aria-label="Next" title="Next (J)" disabled={!steps.on} onClick={steps.on}>
        <ChevronDownIcon aria-hidden="true" className="size-5" />
      </Button>
    </>
  );
}
