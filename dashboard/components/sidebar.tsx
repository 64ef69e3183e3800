"use client";

import {
  BanknotesIcon,
  BellAlertIcon,
  ChartBarIcon,
  ChartPieIcon,
  CircleStackIcon,
  ClipboardDocumentListIcon,
  Cog6ToothIcon,
  CpuChipIcon,
  HomeIcon,
  KeyIcon,
  PresentationChartLineIcon,
  ShieldCheckIcon,
  SparklesIcon,
} from "@heroicons/react/24/outline";
import type { ComponentType, SVGProps } from "react";
import type { AlertCount } from "@/lib/answers";
import { useAnswer } from "@/lib/asking";
import { cn } from "@/lib/cn";
import { Link, usePathname, useSearchParams } from "@/lib/nav";
import { useMe } from "@/lib/session";
import { Badge } from "./badge";

type Icon = ComponentType<SVGProps<SVGSVGElement>>;
interface Entry {
  href: string;
  name: string;
  icon: Icon;
  needs: string;
}

export const GROUPS: { name: string | null; entries: Entry[] }[] = [
  {
    name: null,
    entries: [
      { href: "/dashboard/", name: "Dashboard", icon: HomeIcon, needs: "view_metrics" },
      { href: "/inference/", name: "Inference", icon: SparklesIcon, needs: "infer" },
      { href: "/cache/", name: "Cache", icon: CircleStackIcon, needs: "view_metrics" },
      { href: "/models/", name: "Models", icon: CpuChipIcon, needs: "view_metrics" },
      { href: "/alerts/", name: "Alerts", icon: BellAlertIcon, needs: "view_metrics" },
      { href: "/settings/", name: "Settings", icon: Cog6ToothIcon, needs: "view_metrics" },
    ],
  },
  {
    name: "Analytics",
    entries: [
      { href: "/analytics/", name: "Overview", icon: ChartBarIcon, needs: "view_metrics" },
      { href: "/analytics/cost/", name: "Cost", icon: BanknotesIcon, needs: "view_cost" },
      { href: "/analytics/trends/", name: "Trends", icon: PresentationChartLineIcon, needs: "view_metrics" },
      { href: "/analytics/forecast/", name: "Forecast", icon: ChartPieIcon, needs: "view_cost" },
    ],
  },
  {
    name: "Governance",
    entries: [
      { href: "/governance/audit/", name: "Audit log", icon: ClipboardDocumentListIcon, needs: "view_audit_log" },
      { href: "/governance/keys/", name: "API keys", icon: KeyIcon, needs: "infer" },
      { href: "/governance/policies/", name: "Policies", icon: ShieldCheckIcon, needs: "view_metrics" },
    ],
  },
];

/** How many alerts nobody has acknowledged yet; nothing while that is not known. */
function OpenAlerts() {
  const found = useAnswer<AlertCount>("/alerts/count", {}, { every: 60_000 });
  if (!found.data?.open) return null;
  return (
    <Badge tone={found.data.critical ? "bad" : "warn"} className="tabular ml-auto">
      {found.data.open > 99 ? "99+" : found.data.open}
      <span className="sr-only"> open</span>
    </Badge>
  );
}

/** The pages that the reader's permissions open; the range goes along. */
export function Sidebar({ label, leave }: { label: string; leave?: () => void }) {
  const me = useMe();
  const path = usePathname();
  const asked = useSearchParams();
  const kept = new URLSearchParams();
  for (const name of ["range", "from", "to", "tz"]) {
    const value = asked.get(name);
    if (value) kept.set(name, value);
  }
  const suffix = kept.size ? `?${kept}` : "";
  return (
    <nav aria-label={label} className="mt-4 space-y-5">
      {GROUPS.map((group) => {
        const entries = group.entries.filter((entry) => me.permissions.includes(entry.needs));
        if (!entries.length) return null;
        return (
          <div key={group.name ?? "main"}>
            {group.name && <p className="mb-1 px-3 text-xs font-semibold text-muted">{group.name}</p>}
            <ul className="space-y-0.5">
              {entries.map(({ href, name, icon: Icon }) => {
                const current = path === href || `${path}/` === href;
                return (
                  <li key={href}>
                    <Link
                      href={`${href}${suffix}`}
                      onClick={leave}
                      aria-current={current ? "page" : undefined}
                      className={cn(
                        "flex min-h-10 items-center gap-3 rounded-lg px-3 text-sm font-medium",
                        current ? "bg-accent-soft text-accent-ink" : "text-ink hover:bg-surface",
                      )}
                    >
                      <Icon aria-hidden="true" className="size-5 shrink-0" />
                      {name}
                      {href === "/alerts/" && <OpenAlerts />}
                    </Link>
                  </li>
                );
              })}
            </ul>
          </div>
        );
      })}
    </nav>
  );
}
