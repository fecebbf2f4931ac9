import { useEffect, useState } from "preact/hooks";
import type { CallResult } from "./api.ts";

export interface List<T> {
  /** `null` until the first answer. */
  answer: CallResult<T> | null;
  reload: () => void;
}

/** What a call answers, asked for when the page opens and after each change. */
export function useList<T>(ask: () => Promise<CallResult<T>>): List<T> {
  const [answer, setAnswer] = useState<CallResult<T> | null>(null);
  const reload = () => void ask().then(setAnswer);
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked once; `ask` is another function with each drawing
  useEffect(reload, []);
  return { answer, reload };
}
