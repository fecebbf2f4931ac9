import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface ConfirmButtonProps {
  text: string;
  /** The name for whoever doesn't see what stands beside the button. */
  label: string;
  /** Says what would happen. */
  question: string;
  confirm: string;
  onConfirm: () => void;
}

/** A button for what can't be taken back: it asks first, in its own place. */
export function ConfirmButton({ text, label, question, confirm, onConfirm }: ConfirmButtonProps) {
  const [isAsking, setAsking] = useState(false);
  const before = useRef<HTMLButtonElement>(null);
  const after = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(false);
  // Before anything else is typed: the button that had the focus is gone.
  useLayoutEffect(() => {
    if (isAsking) after.current?.focus();
    else if (wasAsking.current) before.current?.focus();
    wasAsking.current = isAsking;
  }, [isAsking]);
  if (!isAsking) {
    return (
      <button type="button" aria-label={label} ref={before} onClick={() => setAsking(true)}>
        {text}
      </button>
    );
  }
  const onKeyDown = (event: KeyboardEvent) => event.key === "Escape" && setAsking(false);
  return (
    <span class="buttons ask">
      <span>{question}</span>
      <button
        type="button"
        class="danger"
        ref={after}
        onKeyDown={onKeyDown}
        onClick={() => {
          setAsking(false);
          onConfirm();
        }}
      >
        {confirm}
      </button>
      <button type="button" onKeyDown={onKeyDown} onClick={() => setAsking(false)}>
        Cancel
      </button>
    </span>
  );
}
