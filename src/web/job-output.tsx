import { useLayoutEffect, useRef } from "preact/hooks";
import type { TabJob } from "./job-state.ts";

/** A box scrolled to within this many pixels of its end counts as being at the end. */
const AT_END = 24;

/** The job's output so far. It scrolls to new output unless the reader has scrolled back. */
export function JobOutput({ job }: { job: TabJob }) {
  const box = useRef<HTMLPreElement>(null);
  // Must be read before the text grows: a scroll event would report the reader's scrolling too late.
  const wasAtEnd = isAtEnd(box.current);
  useLayoutEffect(() => {
    if (box.current !== null && wasAtEnd) box.current.scrollTop = box.current.scrollHeight;
  });
  return (
    <div class="output">
      <p class="caption">Output</p>
      {job.outputCut && (
        <p class="hint" data-testid="output-cut">
          Earlier output was dropped.
        </p>
      )}
      <pre
        ref={box}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reachable by keyboard.
        tabIndex={0}
        role="log"
        aria-live="polite"
        aria-label="Output"
        data-testid="job-output"
      >
        {job.output}
      </pre>
    </div>
  );
}

function isAtEnd(box: HTMLPreElement | null): boolean {
  return box === null || box.scrollHeight - box.scrollTop - box.clientHeight < AT_END;
}
