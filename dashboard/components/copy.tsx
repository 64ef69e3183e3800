"use client";

import { CheckIcon, ClipboardIcon } from "@heroicons/react/24/outline";
import { useState } from "react";
import { Button } from "./button";
import { useTell } from "./toast";

/** Puts a text on the clipboard, and says so. */
export function Copy({ text, label, shown }: { text: string | (() => string); label: string; shown?: string }) {
  const [done, setDone] = useState(false);
  const tell = useTell();
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "string" ? text : text());
      setDone(true);
      tell("Copied");
      setTimeout(() => setDone(false), 2_000);
    } catch {
      tell("The browser does not allow copying here", "bad");
    }
  };
  const Icon = done ? CheckIcon : ClipboardIcon;
  return (
    <Button size="small" kind={shown ? "secondary" : "quiet"} onClick={copy} aria-label={shown ? undefined : label}>
      <Icon aria-hidden="true" className="size-4" />
      {shown}
    </Button>
  );
}
