import type { ComponentChildren } from "preact";
import type { CallResult } from "./api.ts";

interface PageSectionProps {
  id: string;
  title: string;
  children: ComponentChildren;
}

/** A part of a page that a link can lead to. */
export function PageSection({ id, title, children }: PageSectionProps) {
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id} tabIndex={-1}>
        {title}
      </h2>
      {children}
    </section>
  );
}

/** Moves the focus to a part of the page: what had it is gone, or a link named the part. */
export function focusSection(id: string): void {
  document.getElementById(id)?.focus();
}

/** Why a call was refused. */
export function Refusal({ answer }: { answer: CallResult<unknown> | null }) {
  if (answer === null || answer.ok) return null;
  return (
    <p class="error" role="alert">
      {answer.error.message}
    </p>
  );
}
