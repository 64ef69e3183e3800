import type { ReactNode } from "react";
import { cn } from "@/lib/cn";

export function Card({
  title,
  note,
  actions,
  children,
  className,
}: {
  title?: ReactNode;
  note?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  return (
    <section className={cn("min-w-0 rounded-xl border border-line bg-card p-4 sm:p-5", className)}>
      {(title || actions) && (
        <header className="mb-3 flex flex-wrap items-start justify-between gap-2">
          <div className="min-w-0">
            {title && <h2 className="text-base font-semibold">{title}</h2>}
            {note && <p className="mt-0.5 text-sm text-muted">{note}</p>}
          </div>
          {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}

/** One figure with its name; `children` says what it is compared with. */
export function Figure({
  name,
  value,
  children,
  className,
}: {
  name: ReactNode;
  value: ReactNode;
  children?: ReactNode;
  className?: string;
}) {
  return (
    <div className={cn("min-w-0 rounded-xl border border-line bg-card p-4 sm:p-5", className)}>
      <p className="text-sm font-medium text-muted">{name}</p>
      <p className="tabular mt-1 text-2xl font-semibold tracking-tight">{value}</p>
      {children && <div className="mt-1 text-xs text-muted">{children}</div>}
    </div>
  );
}
