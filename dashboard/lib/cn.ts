import { type ClassValue, clsx } from "clsx";
import { twMerge } from "tailwind-merge";

/** Class names, of which the last of two that contradict holds. */
export function cn(...names: ClassValue[]): string {
  return twMerge(clsx(names));
}
