"use client";

import { useEffect, useRef, useState } from "react";
import { keysOn, meant, turnKeys } from "@/lib/keys";
import { useRouter } from "@/lib/nav";
import { Switch } from "./field";
import { Modal } from "./modal";

const PLACES: Record<string, [string, string]> = {
  d: ["/dashboard/", "Dashboard"],
  i: ["/inference/", "Inference"],
  c: ["/cache/", "Cache"],
  a: ["/analytics/", "Analytics"],
  m: ["/models/", "Models"],
  k: ["/governance/keys/", "API keys"],
  l: ["/governance/audit/", "Audit log"],
  s: ["/settings/", "Settings"],
};

/** Single keys do nothing while one writes, and may be turned off altogether. */
export function Shortcuts() {
  const [help, setHelp] = useState(false);
  const [on, setOn] = useState(true);
  const going = useRef(0);
  const router = useRouter();
  useEffect(() => {
    setOn(keysOn());
    const show = () => setHelp(true);
    window.addEventListener("asahi:help", show);
    return () => window.removeEventListener("asahi:help", show);
  }, []);
  useEffect(() => {
    if (!on) return;
    const press = (event: KeyboardEvent) => {
      if (!meant(event) || document.querySelector("[role=dialog]")) return;
      const place = PLACES[event.key];
      if (Date.now() - going.current < 1_000 && place) {
        going.current = 0;
        router.push(place[0]);
      } else if (event.key === "g") going.current = Date.now();
      else if (event.key === "?") setHelp(true);
      else if (event.key === "t") {
        event.preventDefault();
        window.dispatchEvent(new Event("asahi:range"));
      } else if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("[data-search]");
        if (search) {
          event.preventDefault();
          search.focus();
        }
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [on, router]);
  const turn = (next: boolean) => {
    setOn(next);
    turnKeys(next);
  };
  return (
    <Modal open={help} close={() => setHelp(false)} title="Keyboard shortcuts">
      <dl className="mb-4 grid grid-cols-[auto_1fr] gap-x-4 gap-y-2 text-sm">
        {[
          ...Object.entries(PLACES).map(([key, [, name]]) => [`g ${key}`, name]),
          ["/", "Search"],
          ["t", "Range"],
          ["j", "Next row, in a drawer"],
          ["k", "Previous row, in a drawer"],
          ["?", "This help"],
          ["Esc", "Close"],
        ].map(([key, name]) => (
          <div key={key} className="contents">
            <dt>
              <kbd className="rounded border border-control px-1.5 py-0.5 font-mono text-xs">{key}</kbd>
            </dt>
            <dd>{name}</dd>
          </div>
        ))}
      </dl>
      <Switch label="Single-key shortcuts" checked={on} change={turn} hint="Off: only Esc does something." />
    </Modal>
  );
}
