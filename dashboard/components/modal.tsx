"use client";

import { XMarkIcon } from "@heroicons/react/24/outline";
import { Dialog } from "radix-ui";
import { type ReactNode, useRef, useState } from "react";
import { cn } from "@/lib/cn";
import { Button } from "./button";
import { Field, input } from "./field";
import { Stepper, type Steps } from "./stepper";

/** A window over the page: in its middle, or as a drawer at its right edge. */
export function Modal({
  open,
  close,
  title,
  note,
  drawer = false,
  above = false,
  steps,
  children,
}: {
  open: boolean;
  close: () => void;
  title: ReactNode;
  note?: ReactNode;
  drawer?: boolean;
  /** Over another window, which is dimmed too. */
  above?: boolean;
  /** Where the rows beside the one that is shown are. */
  steps?: Steps;
  children: ReactNode;
}) {
  const opener = useRef<Element | null>(null);
  const row = useRef<string | null>(null);
  if (steps?.row) row.current = steps.row;
  return (
    <Dialog.Root open={open} onOpenChange={(next) => !next && close()}>
      <Dialog.Portal>
        <Dialog.Overlay className={cn("fixed inset-0 bg-black/50", above ? "z-50" : "z-40")} />
        <Dialog.Content
          aria-describedby={undefined}
          onOpenAutoFocus={() => {
            opener.current = document.activeElement;
          }}
          onCloseAutoFocus={(event) => {
            event.preventDefault();
            const shown = row.current === null ? null : rowOf(row.current);
            const back = shown ?? opener.current;
            if (back instanceof HTMLElement) back.focus();
          }}
          className={cn(
            above ? "z-60" : "z-50",
            "fixed overflow-y-auto border border-line bg-card text-ink shadow-xl outline-none",
            drawer
              ? "inset-y-0 right-0 w-full max-w-2xl p-4 sm:p-6"
              : "left-1/2 top-1/2 max-h-[90dvh] w-[calc(100%-2rem)] max-w-lg -translate-x-1/2 -translate-y-1/2 rounded-xl p-5",
          )}
        >
          <div className="mb-4 flex items-start justify-between gap-3">
            <div className="min-w-0">
              <Dialog.Title className="text-lg font-semibold first-letter:uppercase">{title}</Dialog.Title>
              {note && <div className="mt-0.5 text-sm text-muted">{note}</div>}
            </div>
            <div className="flex shrink-0 items-center">
              {steps && <Stepper steps={steps} />}
              <Dialog.Close asChild>
                <Button kind="quiet" size="icon" aria-label="Close">
                  <XMarkIcon aria-hidden="true" className="size-5" />
                </Button>
              </Dialog.Close>
            </div>
          </div>
          {children}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** The button that opens a row, in the table or in the cards: whichever is seen. */
function rowOf(id: string): HTMLElement | undefined {
  const found = document.querySelectorAll<HTMLElement>(`[data-row="${CSS.escape(id)}"]`);
  return [...found].find((each) => each.offsetParent !== null);
}

/** Asks before what cannot be undone; with `typed` the reader writes that word first. */
export function Confirm({
  open,
  close,
  title,
  verb,
  typed,
  busy,
  run,
  children,
}: {
  open: boolean;
  close: () => void;
  title: string;
  verb: string;
  typed?: string;
  busy: boolean;
  run: () => void;
  children: ReactNode;
}) {
  const [text, setText] = useState("");
  const leave = () => {
    setText("");
    close();
  };
  return (
    <Modal open={open} close={leave} title={title}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          setText("");
          run();
        }}
      >
        <div className="text-sm text-muted">{children}</div>
        {typed && (
          <Field label={`Type ${typed} to go on`}>
            {(id) => (
              <input
                id={id}
                className={input}
                value={text}
                autoComplete="off"
                onChange={(event) => setText(event.target.value)}
              />
            )}
          </Field>
        )}
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={leave}>Cancel</Button>
          <Button type="submit" kind="danger" disabled={busy || (typed !== undefined && text !== typed)}>
            {busy ? "Working…" : verb}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
