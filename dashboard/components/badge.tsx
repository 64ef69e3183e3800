import type { ReactNode } from "react";
import { cn } from "@/lib/cn";

const TONES = {
  plain: "bg-surface text-ink border-line",
  good: "bg-good-soft text-good border-transparent",
  bad: "bg-bad-soft text-bad border-transparent",
  warn: "bg-warn-soft text-warn border-transparent",
  note: "bg-note-soft text-note border-transparent",
  accent: "bg-accent-soft text-accent-ink border-transparent",
};

export type Tone = keyof typeof TONES;

export function Badge({
  tone = "plain",
  children,
  className,
}: {
  tone?: Tone;
  children: ReactNode;
  className?: string;
}) {
  return (
    <span
      className={cn(
        "inline-flex items-center gap-1 whitespace-nowrap rounded-full border px-2 py-0.5 text-xs font-medium",
        TONES[tone],
        className,
      )}
    >
      {children}
    </span>
  );
}

/** Said wherever figures come from the mock provider. */
export function MockBadge() {
  return (
    <Badge tone="warn">
      <span>
        mock<span className="hidden sm:inline"> traffic</span>
        <span className="hidden lg:inline">: no vendor is asked, and nothing is paid</span>
      </span>
    </Badge>
  );
}
