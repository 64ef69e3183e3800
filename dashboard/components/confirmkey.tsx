"use client";

import { useEffect, useRef, useState } from "react";
import { ApiError, request } from "@/lib/api";
import { setAsker } from "@/lib/confirming";
import { Button } from "./button";
import { Field, input } from "./field";
import { Modal } from "./modal";

/** Asks for the key again where the gateway wants it before a sensitive call, which then goes on by itself. */
export function ConfirmKey() {
  const [open, setOpen] = useState(false);
  const answer = useRef<(shown: boolean) => void>(() => {});
  useEffect(() => {
    setAsker(
      () =>
        new Promise<boolean>((resolve) => {
          answer.current = resolve;
          setOpen(true);
        }),
    );
    return () => setAsker(null);
  }, []);
  const end = (shown: boolean) => {
    setOpen(false);
    answer.current(shown);
  };
  return (
    <Modal
      above
      open={open}
      close={() => end(false)}
      title="Paste your key again"
      note="It was shown a while ago, and what you are about to do matters. Nothing was done yet."
    >
      <Form done={() => end(true)} cancel={() => end(false)} />
    </Modal>
  );
}

function Form({ done, cancel }: { done: () => void; cancel: () => void }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Once the window has noted where the focus was, to give it back.
    const timer = setTimeout(() => field.current?.focus());
    return () => clearTimeout(timer);
  }, []);
  const show = async () => {
    setBusy(true);
    setError(null);
    try {
      await request("POST", "/auth/confirm", { body: { api_key: key.trim() } });
      done();
    } catch (found) {
      setError(found instanceof ApiError ? told(found) : "That did not work.");
      setBusy(false);
    }
  };
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        event.preventDefault();
        event.stopPropagation();
        void show();
      }}
    >
      <Field label="API key" error={error}>
        {(id, described) => (
          <input
            id={id}
            ref={field}
            name="password"
            type="password"
            className={input}
            value={key}
            required
            autoComplete="current-password"
            autoCapitalize="none"
            spellCheck={false}
            placeholder="ask_…"
            aria-invalid={error ? true : undefined}
            aria-describedby={described}
            onChange={(event) => setKey(event.target.value)}
          />
        )}
      </Field>
      <p role="alert" className="sr-only">
        {error}
      </p>
      <div className="flex flex-wrap justify-end gap-2">
        <Button onClick={cancel}>Cancel</Button>
        <Button type="submit" kind="primary" disabled={busy || !key.trim()}>
          {busy ? "Checking…" : "Go on"}
        </Button>
      </div>
    </form>
  );
}

function told(error: ApiError): string {
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfter ?? 60} seconds.`;
  return error.message;
}
