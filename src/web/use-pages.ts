import { useEffect, useState } from "preact/hooks";
import type { CallResult } from "./api.ts";

type Page<T> = T & { next_cursor: string | null };

export interface Pages<E> {
  entries: E[];
  hasMore: boolean;
  /** The last answer, for what it refused; `null` until the first. */
  answer: CallResult<unknown> | null;
  showMore: () => void;
  /** Begins again with the first page: after a change, entries may stand elsewhere. */
  reload: () => void;
}

/** A list that the edge answers in pages, with more of it each time somebody asks for more. */
export function usePages<T, E>(
  ask: (cursor: string) => Promise<CallResult<Page<T>>>,
  entriesOf: (page: T) => E[],
): Pages<E> {
  const [entries, setEntries] = useState<E[]>([]);
  const [cursor, setCursor] = useState<string | null>(null);
  const [answer, setAnswer] = useState<CallResult<unknown> | null>(null);
  const load = async (from: string) => {
    const next = await ask(from);
    setAnswer(next);
    if (!next.ok) return;
    const page = entriesOf(next.value);
    setEntries((before) => (from === "" ? page : [...before, ...page]));
    setCursor(next.value.next_cursor);
  };
  const reload = () => void load("");
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked once; `ask` is another function with each drawing
  useEffect(reload, []);
  const hasMore = cursor !== null;
  return { entries, hasMore, answer, showMore: () => void load(cursor ?? ""), reload };
}
