/** How figures are written. Unknown is never zero, and next to nothing is never "$0.00". */

type Figure = number | null | undefined;

export const DASH = "–";

const whole = new Intl.NumberFormat("en-US");
const compactly = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** Dollars: four digits below one, and what is smaller still says so. */
export function money(value: Figure, unknown = "unknown"): string {
  if (value === null || value === undefined) return unknown;
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (size === 0) return "$0.00";
  if (size < 0.0001) return `${sign}<$0.0001`;
  const digits = size < 1 ? 4 : 2;
  const told = size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${sign}$${told}`;
}

export function count(value: Figure): string {
  return value === null || value === undefined ? DASH : whole.format(value);
}

export function compact(value: Figure): string {
  return value === null || value === undefined ? DASH : compactly.format(value);
}

/** A share of one as a percentage; a dash where nothing was asked. */
export function share(value: Figure, digits = 1): string {
  return value === null || value === undefined ? DASH : `${(100 * value).toFixed(digits)} %`;
}

/** A figure that is a percentage already. */
export function percent(value: Figure, digits = 1): string {
  return value === null || value === undefined ? DASH : `${value.toFixed(digits)} %`;
}

export function milliseconds(value: Figure): string {
  if (value === null || value === undefined) return DASH;
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(2)} s`;
}

export function quality(value: Figure): string {
  return value === null || value === undefined ? DASH : value.toFixed(2);
}

export function bytes(value: Figure): string {
  if (value === null || value === undefined) return DASH;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size >= 10 || unit === 0 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds: Figure): string {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function ago(moment: string | number | Date, now = Date.now()): string {
  const seconds = Math.max(0, (now - new Date(moment).getTime()) / 1000);
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

export function time(moment: string, seconds = false): string {
  return new Date(moment).toLocaleString(undefined, {
    day: "2-digit",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
  });
}

export function day(moment: string): string {
  return new Date(moment).toLocaleDateString(undefined, { day: "2-digit", month: "short", year: "numeric" });
}

/** The change against the stretch before, in percent of it; null where that had nothing. */
export function change(now: Figure, before: Figure): number | null {
  if (now === null || now === undefined || before === null || before === undefined || before === 0) return null;
  return (100 * (now - before)) / Math.abs(before);
}

/** A name that does not break its table. */
export function cut(text: string, most = 40): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** The local time zone as the gateway takes it. */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

export function offset(): string {
  const minutes = -new Date().getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60 ? `:${String(size % 60).padStart(2, "0")}` : "";
  return `UTC${minutes > 0 ? "+" : "−"}${Math.floor(size / 60)}${rest}`;
}
