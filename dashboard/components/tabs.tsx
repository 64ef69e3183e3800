import { cn } from "@/lib/cn";

/** Views of one page, of which one is open. */
export function Tabs({
  label,
  tabs,
  open,
  change,
}: {
  label: string;
  tabs: { id: string; name: string }[];
  open: string;
  change: (id: string) => void;
}) {
  return (
    <nav aria-label={label} className="flex flex-wrap gap-2">
      {tabs.map(({ id, name }) => (
        <button
          key={id}
          type="button"
          aria-current={open === id ? "page" : undefined}
          className={cn(
            "min-h-10 rounded-full border px-4 text-sm font-medium",
            open === id ? "border-accent-ink bg-accent-soft text-accent-ink" : "border-control bg-card",
          )}
          onClick={() => change(id)}
        >
          {name}
        </button>
      ))}
    </nav>
  );
}
