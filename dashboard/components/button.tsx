import { cva, type VariantProps } from "class-variance-authority";
import type { ButtonHTMLAttributes } from "react";
import { cn } from "@/lib/cn";

export const buttonStyle = cva(
  "inline-flex min-h-10 items-center justify-center gap-2 rounded-lg px-4 text-sm font-medium motion-safe:transition-colors disabled:opacity-60",
  {
    variants: {
      kind: {
        primary: "bg-accent text-on-accent hover:bg-accent-hover",
        secondary: "border border-control bg-card text-ink hover:bg-surface",
        quiet: "text-ink hover:bg-surface",
        danger: "border border-bad bg-card text-bad hover:bg-bad-soft",
      },
      size: { normal: "", small: "min-h-8 px-3 text-xs", icon: "w-10 px-0" },
    },
    defaultVariants: { kind: "secondary", size: "normal" },
  },
);

export function Button({
  kind,
  size,
  className,
  type = "button",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & VariantProps<typeof buttonStyle>) {
  return <button type={type} className={cn(buttonStyle({ kind, size }), className)} {...rest} />;
}
