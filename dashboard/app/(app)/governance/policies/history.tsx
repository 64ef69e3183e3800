"use client";

import { Badge } from "@/components/badge";
import { Modal } from "@/components/modal";
import { Empty, Loaded } from "@/components/states";
import type { Policy } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { time } from "@/lib/numbers";
import { differences, draftOf } from "./draft";

/** Every version, and what each changed. */
export function History({ open, close, org }: { open: boolean; close: () => void; org: string }) {
  const found = useAnswer<{ versions: Policy[] }>(
    "/governance/policies/{org}/history",
    { params: { org }, query: { limit: 50 } },
    { enabled: open },
  );
  return (
    <Modal open={open} close={close} title="History of the policy" drawer>
      <Loaded
        query={found}
        height="min-h-48"
        isEmpty={(data) => data.versions.length === 0}
        empty={<Empty title="There was never a policy of its own" />}
      >
        {({ versions }) => (
          <ol className="space-y-4">
            {versions.map((version, at) => (
              <li key={version.version} className="rounded-lg border border-line p-3 text-sm">
                <p className="flex flex-wrap items-center gap-2">
                  <strong>Version {version.version}</strong>
                  {version.deleted && <Badge tone="warn">back to the default</Badge>}
                  <span className="text-muted">
                    {version.updated_at && time(version.updated_at)} by {version.updated_by ?? "unknown"}
                  </span>
                </p>
                {!version.deleted && (
                  <ul className="mt-2 list-disc pl-5">
                    {differences(draftOf(versions[at + 1] ?? null), draftOf(version)).map(([name, old, next]) => (
                      <li key={name} className="break-words">
                        {name}: {old} → {next}
                      </li>
                    ))}
                  </ul>
                )}
              </li>
            ))}
          </ol>
        )}
      </Loaded>
    </Modal>
  );
}
