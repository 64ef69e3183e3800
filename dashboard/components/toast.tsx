"use client";

import { createContext, type ReactNode, useCallback, useContext, useState } from "react";
import { cn } from "@/lib/cn";

type Tell = (message: string, tone?: "good" | "bad") => void;
const Toasts = createContext<Tell>(() => {});

export function useTell(): Tell {
  return useContext(Toasts);
}

/** What came of an action, seen and heard. */
export function ToastProvider({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<{ id: number; message: string; tone: "good" | "bad" }[]>([]);
  const tell = useCallback<Tell>((message, tone = "good") => {
    const id = Date.now() + Math.random();
    setShown((all) => [...all.slice(-2), { id, message, tone }]);
    setTimeout(() => setShown((all) => all.filter((each) => each.id !== id)), tone === "bad" ? 10_000 : 4_000);
  }, []);
  return (
    <Toasts value={tell}>
      {children}
      <div
        aria-live="polite"
        className="pointer-events-none fixed inset-x-4 bottom-4 z-60 flex flex-col items-end gap-2"
      >
        {shown.map((each) => (
          <p
            key={each.id}
            className={cn(
              "max-w-full rounded-lg border px-4 py-2 text-sm shadow-lg",
              each.tone === "bad" ? "border-bad bg-bad-soft text-bad" : "border-line bg-card text-ink",
            )}
          >
            {each.message}
          </p>
        ))}
      </div>
    </Toasts>
  );
}
