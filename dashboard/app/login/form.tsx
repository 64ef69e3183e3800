"use client";

import { EyeIcon, EyeSlashIcon } from "@heroicons/react/24/outline";
import { useEffect, useState } from "react";
import { Button, buttonStyle } from "@/components/button";
import { Field, input } from "@/components/field";
import type { Me } from "@/lib/answers";
import { ApiError, get, request, setCsrf } from "@/lib/api";
import { BASE_PATH, Link, safeNext, useSearchParams } from "@/lib/nav";

type Providers = { providers: { type: string; name: string }[] };

/** One field for the key. On success on to where the reader wanted to go, and never to another site. */
export function LoginForm() {
  const asked = useSearchParams();
  const [open, setOpen] = useState(false);
  const [key, setKey] = useState("");
  const [seen, setSeen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const next = safeNext(asked.get("next"));
  useEffect(() => {
    get<Providers>("/auth/providers")
      .then((told) => setOpen(told.providers.length === 0))
      .catch((found: unknown) => setError(found instanceof ApiError ? found.message : null));
  }, []);
  if (open) {
    return (
      <div className="space-y-4 text-sm">
        <p>This gateway lets everybody in who reaches it (auth: open), as developer.</p>
        <Link href={next} className={buttonStyle({ kind: "primary" })}>
          To the dashboard
        </Link>
      </div>
    );
  }
  const enter = async () => {
    setBusy(true);
    setError(null);
    try {
      const me = await request<Me>("POST", "/auth/login", { body: { api_key: key.trim() } });
      setCsrf(me.csrf ?? null);
      window.location.assign(`${BASE_PATH}${next}`);
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
        void enter();
      }}
    >
      {asked.get("next") && !error && (
        <p className="rounded-lg bg-note-soft px-3 py-2 text-sm text-note">Log in to see that page.</p>
      )}
      <Field label="API key">
        {(id) => (
          <span className="flex gap-2">
            <input
              id={id}
              name="password"
              type={seen ? "text" : "password"}
              className={input}
              value={key}
              required
              autoComplete="current-password"
              autoCapitalize="none"
              spellCheck={false}
              placeholder="ask_…"
              aria-invalid={error ? true : undefined}
              aria-describedby={error ? "login-error" : undefined}
              onChange={(event) => setKey(event.target.value)}
            />
            <Button size="icon" aria-label={seen ? "Hide the key" : "Show the key"} onClick={() => setSeen(!seen)}>
              {seen ? (
                <EyeSlashIcon aria-hidden="true" className="size-5" />
              ) : (
                <EyeIcon aria-hidden="true" className="size-5" />
              )}
            </Button>
          </span>
        )}
      </Field>
      {error && (
        <p id="login-error" role="alert" className="rounded-lg bg-bad-soft px-3 py-2 text-sm text-bad">
          {error}
        </p>
      )}
      <Button type="submit" kind="primary" className="w-full" disabled={busy || !key.trim()}>
        {busy ? "Logging in…" : "Log in"}
      </Button>
      <details className="text-sm text-muted">
        <summary className="min-h-6">Where do I find a key?</summary>
        <p className="mt-2">
          An administrator makes one under Governance, API keys. The first one is made where the gateway runs:
        </p>
        <pre className="mt-2 overflow-x-auto rounded-lg bg-surface p-3 text-ink">asahi keys create --admin</pre>
      </details>
    </form>
  );
}

function told(error: ApiError): string {
  if (error.status === 0) return "The gateway cannot be reached. Is it running, and is this its address?";
  if (error.status === 401) return "This key is not known here, or it is revoked or expired.";
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfter ?? 60} seconds.`;
  return error.message;
}
