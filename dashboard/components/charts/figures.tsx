"use client";

import type { ReactNode } from "react";

export interface Series {
  key: string;
  name: string;
  /** Told apart by more than colour. */
  dash?: string;
}

export type Datum = Record<string, string | number | null | boolean | undefined>;

export const COLOURS = [1, 2, 3, 4, 5, 6].map((at) => `var(--series-${at})`);
export const DASHES = [undefined, "6 3", "2 3", "8 3 2 3", "1 4", "10 4"];

export function colour(at: number): string {
  return COLOURS[at % COLOURS.length] ?? "var(--series-6)";
}

export const AXIS = {
  stroke: "var(--control)",
  tick: { fill: "var(--muted)", fontSize: 12 },
  tickLine: false,
} as const;

/** Words are in ink, and only the mark has the colour. */
export function inked(text: ReactNode): ReactNode {
  return <span style={{ color: "var(--ink)" }}>{text}</span>;
}

export const TOOLTIP = {
  contentStyle: {
    background: "var(--card)",
    border: "1px solid var(--line)",
    borderRadius: 8,
    color: "var(--ink)",
    fontSize: 12,
  },
  labelStyle: { color: "var(--muted)" },
  itemStyle: { color: "var(--ink)" },
} as const;

/** A moment as an axis shows it: hours within two days, else days. */
export function ticker(moments: string[]): (moment: string) => string {
  const [first, last] = [moments[0], moments[moments.length - 1]];
  const span = first && last ? new Date(last).getTime() - new Date(first).getTime() : 0;
  return (moment) =>
    span < 2 * 86_400_000
      ? new Date(moment).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })
      : new Date(moment).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/** The same as numbers, for whoever cannot or will not read the picture. */
export function AsTable({
  title,
  x,
  xs,
  series,
  data,
  format,
}: {
  title: string;
  x: string;
  xs: (datum: Datum) => string;
  series: Series[];
  data: Datum[];
  format: (value: number | null | undefined) => string;
}) {
  return (
    <details className="mt-2 text-sm">
      <summary className="inline-block min-h-6 text-muted underline underline-offset-2">View as table</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section aria-label={title} tabIndex={0} className="mt-2 max-h-64 overflow-auto rounded-lg border border-line">
        <table className="tabular w-full text-xs">
          <caption className="sr-only">{title}</caption>
          <thead>
            <tr>
              <th scope="col" className="p-2 text-left">
                {x}
              </th>
              {series.map((each) => (
                <th key={each.key} scope="col" className="p-2 text-right">
                  {each.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {data.map((datum, at) => (
              <tr key={`${xs(datum)}-${at.toString()}`} className="border-t border-line">
                <th scope="row" className="whitespace-nowrap p-2 text-left font-normal">
                  {xs(datum)}
                  {datum.partial ? " (so far)" : ""}
                </th>
                {series.map((each) => (
                  <td key={each.key} className="p-2 text-right">
                    {format(datum[each.key] as number | null | undefined)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}
