import { useState } from "preact/hooks";

/** Text to be pasted elsewhere, with a button that copies it. */
export function CommandBlock({ title, text }: { title: string; text: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      // Whoever forbade it to the page can still select the text.
      setCopied(false);
    }
  };
  return (
    <div class="command">
      <pre>{text}</pre>
      {/* Browsers have a clipboard for pages over TLS and of the same machine alone. */}
      {navigator.clipboard !== undefined && (
        <button type="button" aria-label={`Copy: ${title}`} onClick={() => void copy()}>
          {isCopied ? "Copied" : "Copy"}
        </button>
      )}
    </div>
  );
}
