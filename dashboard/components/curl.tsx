"use client";

import { type Call, curl, type Method, type Path } from "@/lib/api";
import { Copy } from "./copy";

/** What the page does, for a terminal. */
export function Curl({ method = "GET", path, call }: { method?: Method; path: Path; call?: Call }) {
  return <Copy text={() => curl(method, path, call)} label="Copy as curl" shown="Copy as curl" />;
}
