"use client";

import { Bars3Icon } from "@heroicons/react/24/outline";
import { QueryClientProvider } from "@tanstack/react-query";
import { type ReactNode, Suspense, useState } from "react";
import type { Health } from "@/lib/answers";
import { makeClient, useAnswer } from "@/lib/asking";
import { SessionProvider } from "@/lib/session";
import { Account } from "./account";
import { MockBadge } from "./badge";
import { Button } from "./button";
import { ConfirmKey } from "./confirmkey";
import { Logo } from "./mark";
import { Modal } from "./modal";
import { Shortcuts } from "./shortcuts";
import { Sidebar } from "./sidebar";
import { Skeleton } from "./states";
import { ToastProvider } from "./toast";

/** What every page behind the login has around it. */
export function Shell({ children }: { children: ReactNode }) {
  const [client] = useState(makeClient);
  return (
    <QueryClientProvider client={client}>
      <ToastProvider>
        <Suspense fallback={<Outline />}>
          <SessionProvider
            waiting={<Outline />}
            failed={(message, retry) => (
              <main className="flex min-h-dvh flex-col items-center justify-center gap-3 p-6 text-center">
                <h1 className="text-xl font-semibold">The gateway does not answer</h1>
                <p className="text-muted">{message}</p>
                <Button kind="primary" onClick={retry}>
                  Retry
                </Button>
              </main>
            )}
          >
            <Frame>{children}</Frame>
            <ConfirmKey />
          </SessionProvider>
        </Suspense>
      </ToastProvider>
    </QueryClientProvider>
  );
}

function Frame({ children }: { children: ReactNode }) {
  const [menu, setMenu] = useState(false);
  return (
    <div className="min-h-dvh md:grid md:grid-cols-[16rem_minmax(0,1fr)]">
      <a
        href="#content"
        className="sr-only focus:not-sr-only focus:fixed focus:left-2 focus:top-2 focus:z-60 focus:rounded-lg focus:bg-card focus:px-4 focus:py-2"
      >
        Skip to the content
      </a>
      <aside className="sticky top-0 hidden h-dvh overflow-y-auto border-r border-line bg-card p-4 md:block">
        <Logo />
        <Sidebar label="Main" />
      </aside>
      <div className="min-w-0">
        <header className="sticky top-0 z-30 flex min-h-14 items-center gap-2 border-b border-line bg-card px-3 sm:px-6">
          <Button
            kind="quiet"
            size="icon"
            className="md:hidden"
            aria-label="Open the menu"
            onClick={() => setMenu(true)}
          >
            <Bars3Icon aria-hidden="true" className="size-6" />
          </Button>
          <span className="md:hidden">
            <Logo small />
          </span>
          <Mocked />
          <Account />
        </header>
        <Degraded />
        <main id="content" tabIndex={-1} className="p-3 pb-16 outline-none sm:p-6">
          {children}
        </main>
      </div>
      <Modal open={menu} close={() => setMenu(false)} title="Menu">
        <Sidebar label="Menu" leave={() => setMenu(false)} />
      </Modal>
      <Shortcuts />
    </div>
  );
}

/** Said on every page where no vendor is asked. */
function Mocked() {
  const health = useAnswer<Health>("/health", {}, { every: 30_000 });
  return health.data && "mock" in health.data.components ? <MockBadge /> : null;
}

/** What works only in part, as the gateway's own health check sees it. */
function Degraded() {
  const health = useAnswer<Health>("/health", {}, { every: 30_000 });
  const told = health.data;
  if (!told) return null;
  const bad = Object.entries(told.components).filter(([, state]) =>
    ["unreachable", "degraded", "resting"].includes(state),
  );
  if (!bad.length) return null;
  return (
    <p role="status" className="border-b border-line bg-warn-soft px-3 py-2 text-sm text-warn sm:px-6">
      <strong>Degraded:</strong> {bad.map(([name, state]) => `${name} is ${state}`).join(", ")}.
    </p>
  );
}

function Outline() {
  return (
    <div role="status" className="min-h-dvh md:grid md:grid-cols-[16rem_minmax(0,1fr)]">
      <span className="sr-only">Loading</span>
      <div className="hidden border-r border-line bg-card md:block" />
      <div>
        <div className="h-14 border-b border-line bg-card" />
        <div className="space-y-4 p-3 sm:p-6">
          <Skeleton className="h-9 w-48" />
          <Skeleton className="h-28" />
          <Skeleton className="h-72" />
        </div>
      </div>
    </div>
  );
}
