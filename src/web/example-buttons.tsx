import type { Json } from "../protocol/codec.ts";
import { summaryOf } from "./labels.ts";

interface ExamplesProps {
  /** For who does not see what they are beside. */
  label: string;
  examples: readonly Json[];
  onChoose: (example: Json) => void;
}

/** How much of an example its button shows, characters. */
const SHOWN = 60;

/** Examples that fill in what they are of. */
export function Examples({ label, examples, onChoose }: ExamplesProps) {
  if (examples.length === 0) return null;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would be announced as a part of the form that is filled in
    <div class="examples" role="group" aria-label={label}>
      <span class="quiet small" aria-hidden="true">
        Examples:
      </span>
      {examples.map((example) => (
        <button
          key={JSON.stringify(example)}
          type="button"
          class="example"
          onClick={() => onChoose(example)}
        >
          {shorten(summaryOf(example))}
        </button>
      ))}
    </div>
  );
}

function shorten(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN - 1)}…` : text || "(empty)";
}
