"use client";

import { ArrowPathIcon, ExclamationTriangleIcon, LockClosedIcon } from "@heroicons/react/24/outline";
import { type UseQueryResult, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import type { ApiError } from "@/lib/api";
import { cn } from "@/lib/cn";
import { time } from "@/lib/numbers";
import { Button } from "./button";
import { Copy } from "./copy";

/** The grey shape of what is to come, as high as that. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden="true" className={cn("animate-pulse rounded-lg bg-line/60", className)} />;
}

export function Waiting({ className }: { className?: string }) {
  const [long, setLong] = useState(false);
  const client = useQueryClient();
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), 10_000);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div role="status" className={cn("relative", className)}>
      <Skeleton className="absolute inset-0" />
      <span className="sr-only">Loading</span>
      {long && (
        <p className="relative p-4 text-sm text-muted">
          Still working.{" "}
          <Button size="small" onClick={() => void client.cancelQueries()}>
            Cancel
          </Button>
        </p>
      )}
    </div>
  );
}

export function Empty({ title, children, action }: { title: ReactNode; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-2 px-4 py-8 text-center">
      <p className="font-medium">{title}</p>
      {children && <div className="max-w-prose text-sm text-muted">{children}</div>}
      {action && <div className="mt-1">{action}</div>}
    </div>
  );
}

export function Refused({ error, retry }: { error: ApiError; retry?: () => void }) {
  if (error.status === 403) {
    return (
      <div className="flex flex-col items-center gap-2 px-4 py-8 text-center">
        <LockClosedIcon aria-hidden="true" className="size-6 text-muted" />
        <p className="font-medium">Your key does not open this</p>
        <p className="max-w-prose text-sm text-muted">{error.message}</p>
      </div>
    );
  }
  return (
    <div role="alert" className="flex flex-col items-center gap-2 px-4 py-8 text-center">
      <ExclamationTriangleIcon aria-hidden="true" className="size-6 text-bad" />
      <p className="font-medium">{error.message}</p>
      {error.requestId && (
        <p className="flex items-center gap-1 text-xs text-muted">
          Request <code className="break-all">{error.requestId}</code>{" "}
          <Copy text={error.requestId} label="Copy request id" />
        </p>
      )}
      {retry && (
        <Button size="small" onClick={retry}>
          <ArrowPathIcon aria-hidden="true" className="size-4" /> Retry
        </Button>
      )}
    </div>
  );
}

/** What a query came to: waiting, refused, empty, or what `children` make of it. Old data is never taken away. */
export function Loaded<T>({
  query,
  height,
  isEmpty,
  empty,
  missing,
  children,
}: {
  query: UseQueryResult<T, ApiError>;
  height: string;
  isEmpty?: (data: T) => boolean;
  empty?: ReactNode;
  missing?: ReactNode;
  children: (data: T) => ReactNode;
}) {
  if (query.data === undefined) {
    if (query.error?.status === 404 && missing) return <div className={height}>{missing}</div>;
    if (query.error) {
      return (
        <div className={height}>
          <Refused error={query.error} retry={() => void query.refetch()} />
        </div>
      );
    }
    if (query.fetchStatus === "idle" && query.isPending && query.isEnabled) {
      return (
        <div className={height}>
          <Empty title="Cancelled" action={<Button onClick={() => void query.refetch()}>Load again</Button>} />
        </div>
      );
    }
    return <Waiting className={height} />;
  }
  return (
    <>
      {query.error && (
        <p role="status" className="mb-3 rounded-lg bg-warn-soft px-3 py-2 text-xs text-warn">
          Could not be renewed: {query.error.message} Shown as of {time(new Date(query.dataUpdatedAt).toISOString())}.
        </p>
      )}
      {isEmpty?.(query.data) ? <div className={height}>{empty}</div> : children(query.data)}
    </>
  );
}
