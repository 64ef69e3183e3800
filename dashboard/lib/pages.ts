"use client";

import { useState } from "react";

/** Where one is in a list that comes page by page: `cursor` asks for this page, `older` goes on with the next one's. */
export type Pages = {
  number: number;
  cursor: string | undefined;
  newer: () => void;
  older: (cursor: string) => void;
  first: () => void;
};

export function usePages(): Pages {
  const [cursors, setCursors] = useState<string[]>([]);
  return {
    number: cursors.length + 1,
    cursor: cursors[cursors.length - 1],
    newer: () => setCursors(cursors.slice(0, -1)),
    older: (cursor) => setCursors([...cursors, cursor]),
    first: () => setCursors([]),
  };
}
