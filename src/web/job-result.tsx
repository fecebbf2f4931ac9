import { useMemo } from "preact/hooks";
import type { Json, JsonObject } from "../protocol/codec.ts";
import { CopyButton } from "./copy-button.tsx";
import type { Phase } from "./job-state.ts";
import { MarkdownText } from "./markdown-text.tsx";
import { type ResultPartView, resultPartsOf } from "./result-parts.ts";
import { copyText, viewResult } from "./result-view.ts";

type CompletedPhase = Extract<Phase, { status: "completed" }>;

interface JobResultProps {
  phase: CompletedPhase;
  /** The schema of the space's results; `null` if there is none. */
  schema: JsonObject | null;
}

export function JobResult({ phase, schema }: JobResultProps) {
  const { result } = phase;
  const parts = useMemo(
    () => (schema === null ? null : resultPartsOf(result, schema)),
    [result, schema],
  );
  return (
    <section class="result" aria-label="Result">
      <p class="caption">Result</p>
      <div data-testid="job-result">
        {result === null && <p class="quiet">Done, without a result.</p>}
        {parts === null ? (
          <ResultValue value={result} />
        ) : (
          parts.map((part) => <ResultPart key={part.label} part={part} />)
        )}
      </div>
      {phase.outputPath !== null && (
        <p class="quiet">
          Output: <code>{phase.outputPath}</code>
        </p>
      )}
      {result !== null && <CopyButton testId="job-copy" text={() => copyText(result)} />}
    </section>
  );
}

/** One field of a result, as the schema of results names it. */
function ResultPart({ part: { label, value, isMarkdown } }: { part: ResultPartView }) {
  return (
    <div class="result-part">
      {label !== null && <p class="caption">{label}</p>}
      {isMarkdown && typeof value === "string" ? (
        <MarkdownText text={value} />
      ) : (
        <ResultValue value={value} />
      )}
    </div>
  );
}

/** A value that nothing more is known about. */
function ResultValue({ value }: { value: Json }) {
  const view = useMemo(() => viewResult(value), [value]);
  const only = view.text === null && view.images.length === 0 && view.link === null;
  return (
    <>
      {view.text !== null && <p class="result-text">{view.text}</p>}
      {view.link !== null && (
        <p class="result-text">
          <a href={view.link} rel="noopener noreferrer">
            {view.link}
          </a>
        </p>
      )}
      {view.images.map((image, index) => (
        <img key={image} class="result-image" src={image} alt={`Result ${index + 1}`} />
      ))}
      {view.rest !== null && only && <pre class="json">{view.rest}</pre>}
      {view.rest !== null && !only && (
        <details>
          <summary>Everything else in the result</summary>
          <pre class="json">{view.rest}</pre>
        </details>
      )}
    </>
  );
}
