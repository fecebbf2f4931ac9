import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { CallResult } from "./api.ts";

interface ActionFormProps {
  title: string;
  button: string;
  /** Sends what the form has; the form shows why it was refused. */
  send: () => Promise<CallResult<unknown>>;
  /** Said once it has worked; `null` if the page goes elsewhere then. */
  done: string | null;
  /** Whether it can be sent now; what is missing is said beside its fields. */
  isReady?: boolean;
  children: ComponentChildren;
}

/** A form that sends its content once, and says what came of it. */
export function ActionForm(props: ActionFormProps) {
  const { title, button, send, done, isReady = true, children } = props;
  const [state, setState] = useState<"idle" | "sending" | "done" | { error: string }>("idle");
  const submit = async (event: Event) => {
    event.preventDefault();
    if (state === "sending") return;
    setState("sending");
    const answer = await send();
    setState(answer.ok ? "done" : { error: answer.error.message });
  };
  return (
    <form class="card action" aria-label={title} onSubmit={submit}>
      <h2>{title}</h2>
      {children}
      <button type="submit" class="primary" disabled={!isReady} aria-disabled={state === "sending"}>
        {state === "sending" ? "Sending…" : button}
      </button>
      <div role="status">{state === "done" && done !== null && <p class="hint">{done}</p>}</div>
      {typeof state === "object" && (
        <p class="error" role="alert">
          {state.error}
        </p>
      )}
    </form>
  );
}
