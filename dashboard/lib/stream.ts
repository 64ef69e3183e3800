/** The events of `POST /infer` with `stream`: pieces, and one that ends it. */

import type { Reply } from "./answers";
import { ApiError, send } from "./api";

export async function streamed(body: object, signal: AbortSignal, piece: (text: string) => void): Promise<Reply> {
  const answer = await send("POST", "/infer", { body, signal, headers: { accept: "text/event-stream" } });
  if (!answer.body) throw new ApiError(0, "unreadable", "The browser cannot read streams.");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let done: Reply | null = null;
  for (;;) {
    const { value, done: ended } = await reader.read();
    rest += value ?? "";
    const events = rest.split("\n\n");
    rest = events.pop() ?? "";
    for (const text of events) done = event(text, piece) ?? done;
    if (ended) break;
  }
  if (!done) throw new ApiError(0, "cut", "The answer was cut off before its end.");
  return done;
}

function event(text: string, piece: (text: string) => void): Reply | null {
  const fields = new Map(text.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2) as [string, string]));
  const told = JSON.parse(fields.get("data") || "null");
  switch (fields.get("event")) {
    case "delta":
      piece(told.text);
      return null;
    case "done":
      return told;
    case "error":
      throw new ApiError(
        told.status,
        told.error,
        told.message,
        told.request_id,
        told.details,
        told.retry_after_seconds,
      );
    default:
      return null;
  }
}
