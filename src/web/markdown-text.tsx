import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";

type Reader = FunctionComponent<{ text: string }>;

/** Longer texts are shown as they are: reading them would hold up the page. */
const MOST_CHARACTERS = 100_000;

/** A text that is Markdown. What reads it is loaded when the first one is shown; until then the text is shown as it is. */
export function MarkdownText({ text }: { text: string }) {
  const [Reader, setReader] = useState<Reader | null>(null);
  useEffect(() => {
    // A function would be called by the setter.
    void import("./markdown.tsx").then(({ Markdown }) => setReader(() => Markdown)).catch(() => {});
  }, []);
  if (Reader === null || text.length > MOST_CHARACTERS) return <p class="result-text">{text}</p>;
  return <Reader text={text} />;
}
