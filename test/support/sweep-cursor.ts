import type { SweepCursor } from "../../src/file-sweep/file-sweep.ts";

export function cursorInMemory(): SweepCursor {
  let cursor: string | null = null;
  return {
    read: () => cursor,
    write: (key) => {
      cursor = key;
    },
  };
}
