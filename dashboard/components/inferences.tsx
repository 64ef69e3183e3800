"use client";

import { CheckIcon, XMarkIcon } from "@heroicons/react/24/outline";
import type { Inference } from "@/lib/answers";
import { cut, milliseconds, money, quality, time } from "@/lib/numbers";
import { Table } from "./table";

/** Which tier answered, by sign and word. */
export function TierMark({ hit, tier }: { hit: boolean; tier: number }) {
  const Icon = hit ? CheckIcon : XMarkIcon;
  return (
    <span className="inline-flex items-center gap-1 whitespace-nowrap">
      <Icon aria-hidden="true" className={hit ? "size-4 text-good" : "size-4 text-muted"} />
      {hit ? `tier ${tier}` : tier ? `partly, tier ${tier}` : "miss"}
    </span>
  );
}

export function Inferences({
  rows,
  open,
  opened,
}: {
  rows: Inference[];
  open: (id: string) => void;
  opened: string | null;
}) {
  return (
    <Table
      caption="Recent inferences; each opens why it was answered so"
      rows={rows}
      id={(row) => row.request_id}
      open={(row) => open(row.request_id)}
      opened={opened}
      columns={[
        { name: "Time", cell: (row) => <span className="whitespace-nowrap">{time(row.timestamp, true)}</span> },
        {
          name: "Model",
          cell: (row) => {
            const asked = row.model_requested && row.model_requested !== row.model_used ? row.model_requested : "";
            return (
              <span title={row.routing_reason}>
                {asked && <span className="text-muted">{cut(asked, 24)} → </span>}
                {cut(row.model_used || "–", 32)}
                {row.status !== "ok" && (
                  <span className="text-bad"> ({(row.error ?? row.status).replaceAll("_", " ")})</span>
                )}
              </span>
            );
          },
        },
        { name: "Cost", right: true, cell: (row) => money(row.cost) },
        { name: "Baseline", right: true, wide: true, cell: (row) => money(row.baseline_cost) },
        { name: "Saved", right: true, wide: true, cell: (row) => money(row.saved) },
        { name: "Cache", cell: (row) => <TierMark hit={row.cache_hit} tier={row.cache_tier} /> },
        { name: "Latency", right: true, wide: true, cell: (row) => milliseconds(row.latency_ms) },
        { name: "Quality", right: true, wide: true, cell: (row) => quality(row.quality_score) },
      ]}
    />
  );
}
