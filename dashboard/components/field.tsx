"use client";

import { type ReactNode, useId } from "react";

export const input =
  "min-h-10 w-full rounded-lg border border-control bg-card px-3 py-2 text-sm text-ink placeholder:text-muted disabled:bg-surface disabled:text-muted";

/** A control with its label, a hint, and what is wrong with it. */
export function Field({
  label,
  hint,
  error,
  children,
  className,
}: {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | null;
  children: (id: string, described: string | undefined) => ReactNode;
  className?: string;
}) {
  const id = useId();
  const told = hint || error ? `${id}-told` : undefined;
  return (
    <div className={className}>
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      {children(id, told)}
      {told && (
        <p id={told} className={error ? "mt-1 text-xs text-bad" : "mt-1 text-xs text-muted"}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}

export function Choice({
  label,
  value,
  options,
  change,
  hint,
  className,
  disabled,
}: {
  label: ReactNode;
  value: string;
  options: Record<string, string>;
  change: (next: string) => void;
  hint?: ReactNode;
  className?: string;
  disabled?: boolean;
}) {
  return (
    <Field label={label} hint={hint} className={className}>
      {(id, told) => (
        <select
          id={id}
          aria-describedby={told}
          className={input}
          value={value}
          disabled={disabled}
          onChange={(event) => change(event.target.value)}
        >
          {Object.entries(options).map(([name, shown]) => (
            <option key={name} value={name}>
              {shown}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Switch({
  label,
  checked,
  change,
  hint,
  disabled,
}: {
  label: ReactNode;
  checked: boolean;
  change: (next: boolean) => void;
  hint?: ReactNode;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <div className="flex items-start gap-3">
      <input
        id={id}
        type="checkbox"
        className="mt-0.5 size-6 shrink-0 accent-(--accent-ink)"
        checked={checked}
        disabled={disabled}
        aria-describedby={hint ? `${id}-told` : undefined}
        onChange={(event) => change(event.target.checked)}
      />
      <div className="min-w-0">
        <label htmlFor={id} className="text-sm font-medium leading-7">
          {label}
        </label>
        {hint && (
          <p id={`${id}-told`} className="text-xs text-muted">
            {hint}
          </p>
        )}
      </div>
    </div>
  );
}
