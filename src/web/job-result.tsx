import { useMemo } from "preact/hooks";
import { CopyButton } from "./copy-button.tsx";
import type { Phase } from "./job-state.ts";
import { copyText, viewResult } from "./result-view.ts";

type CompletedPhase = Extract<Phase, { status: "completed" }>;

export function JobResult({ phase }: { phase: CompletedPhase }) {
  const view = useMemo(() => viewResult(phase.result), [phase.result]);
  const only = view.text === null && view.images.length === 0 && view.link === null;
  return (
    <section class="result" aria-label="Result">
      <p class="caption">Result</p>
      <div data-testid="job-result">
        {phase.result === null && <p class="quiet">Done, without a result.</p>}
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
      </div>
      {phase.outputPath !== null && (
        <p class="quiet">
          Output: <code>{phase.outputPath}</code>
        </p>
      )}
      {phase.result !== null && (
        <CopyButton testId="job-copy" text={() => copyText(phase.result)} />
      )}
    </section>
  );
}
