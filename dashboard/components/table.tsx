"use client";

import type { ReactNode } from "react";
import { cn } from "@/lib/cn";
import type { Pages } from "@/lib/pages";

export interface Column<T> {
  name: string;
  cell: (row: T) => ReactNode;
  right?: boolean;
  /** Left out of the cards on a phone. */
  wide?: boolean;
  sort?: string;
}

/** Rows under a sticky head; cards below 640 px. A row with `open` is a button in its first cell. */
export function Table<T>({
  caption,
  columns,
  rows,
  id,
  open,
  opened,
  sort,
  sortBy,
}: {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string;
  open?: (row: T) => void;
  opened?: string | null;
  sort?: string;
  sortBy?: (name: string) => void;
}) {
  const [first, ...others] = columns;
  if (!first) return null;
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <section aria-label={caption} tabIndex={0} className="hidden max-h-[70vh] overflow-auto sm:block">
        <table className="tabular w-full text-sm">
          <caption className="sr-only">{caption}</caption>
          <thead className="sticky top-0 z-10 bg-card">
            <tr>
              {columns.map((column) => (
                <th
                  key={column.name}
                  scope="col"
                  aria-sort={column.sort && column.sort === sort ? "descending" : undefined}
                  className={cn(
                    "whitespace-nowrap border-b border-line px-2 py-2 text-left font-medium text-muted",
                    column.right && "text-right",
                  )}
                >
                  {column.sort && sortBy ? (
                    <button
                      type="button"
                      className="min-h-6 underline decoration-dotted underline-offset-4"
                      onClick={() => sortBy(column.sort ?? "")}
                    >
                      {column.name}
                      {column.sort === sort && <span aria-hidden="true"> ↓</span>}
                    </button>
                  ) : (
                    column.name
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr
                key={id(row)}
                className={cn("border-b border-line last:border-0", opened === id(row) && "bg-accent-soft")}
              >
                {columns.map((column, at) => (
                  <td
                    key={column.name}
                    className={cn("px-2 py-2.5 align-top", column.right && "whitespace-nowrap text-right")}
                  >
                    {at === 0 && open ? (
                      <Opener row={row} id={id(row)} open={open} cell={column.cell} />
                    ) : (
                      column.cell(row)
                    )}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <ul className="space-y-2 sm:hidden">
        {rows.map((row) => (
          <li
            key={id(row)}
            className={cn("rounded-lg border border-line p-3 text-sm", opened === id(row) && "bg-accent-soft")}
          >
            <div className="mb-1 font-medium">
              {open ? <Opener row={row} id={id(row)} open={open} cell={first.cell} /> : first.cell(row)}
            </div>
            <dl className="tabular space-y-1">
              {others
                .filter((column) => !column.wide)
                .map((column) => (
                  <div key={column.name} className="flex flex-wrap items-start justify-between gap-x-3">
                    <dt className="text-muted">{column.name}</dt>
                    <dd className="ml-auto min-w-0 break-words text-right">{column.cell(row)}</dd>
                  </div>
                ))}
            </dl>
          </li>
        ))}
      </ul>
    </>
  );
}

function Opener<T>({
  row,
  id,
  open,
  cell,
}: {
  row: T;
  id: string;
  open: (row: T) => void;
  cell: (row: T) => ReactNode;
}) {
  return (
    <button
      type="button"
      data-row={id}
      className="min-h-6 text-left text-accent-ink underline underline-offset-2"
      onClick={() => open(row)}
    >
      {cell(row)}
    </button>
  );
}

/** On to the next page of a list that the gateway keeps. */
export function Pager({ pages, next }: { pages: Pages; next: string | null }) {
  const style = "min-h-8 rounded-lg border border-control px-3 text-sm disabled:opacity-60";
  return (
    <nav aria-label="Pages" className="mt-3 flex items-center justify-between gap-2 text-sm text-muted">
      <span>Page {pages.number}</span>
      <span className="flex gap-2">
        <button type="button" className={style} disabled={pages.number <= 1} onClick={pages.newer}>
          Newer
        </button>
        <button
          type="button"
          className={style}
          disabled={next === null}
          onClick={() => next !== null && pages.older(next)}
        >
          Older
        </button>
      </span>
    </nav>
  );
}
