"use client";

import { createContext, type ReactNode, useContext, useEffect } from "react";
import type { Me } from "./answers";
import { setCsrf } from "./api";
import { useAnswer } from "./asking";

const Session = createContext<Me | null>(null);

/** Who looks at the pages. Nothing below it is shown before the gateway has said so. */
export function SessionProvider({
  children,
  waiting,
  failed,
}: {
  children: ReactNode;
  waiting: ReactNode;
  failed: (message: string, retry: () => void) => ReactNode;
}) {
  const me = useAnswer<Me>("/auth/me", {}, { every: 300_000 });
  if (me.data) setCsrf(me.data.csrf ?? null);
  useEffect(() => {
    if (me.data) setCsrf(me.data.csrf ?? null);
  }, [me.data]);
  if (me.data) return <Session value={me.data}>{children}</Session>;
  if (me.error && me.error.status !== 401) return failed(me.error.message, () => void me.refetch());
  return waiting;
}

export function useMe(): Me {
  const me = useContext(Session);
  if (!me) throw new Error("useMe outside of SessionProvider");
  return me;
}

/** Whether the reader may do something. The gateway refuses anyway; this only hides what would be refused. */
export function useCan(permission: string): boolean {
  return useMe().permissions.includes(permission);
}
