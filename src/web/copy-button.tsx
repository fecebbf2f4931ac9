import { useEffect, useState } from "preact/hooks";

interface CopyButtonProps {
  text: () => string;
  label?: string;
  testId?: string;
}

type CopyState = "idle" | "copied" | "failed";
const COPY_WORDS = { copied: "Copied", failed: "Copying is not allowed here" };

/** Puts a text on the clipboard, and says for a moment whether that worked. */
export function CopyButton({ text, label = "Copy", testId }: CopyButtonProps) {
  const [state, setState] = useState<CopyState>("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 2_000);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = () =>
    // `navigator.clipboard` only exists in a secure context.
    Promise.resolve(navigator.clipboard?.writeText(text()) ?? Promise.reject()).then(
      () => setState("copied"),
      () => setState("failed"),
    );
  return (
    <button type="button" data-testid={testId} onClick={copy} aria-live="polite">
      {state === "idle" ? label : COPY_WORDS[state]}
    </button>
  );
}
