import { createInterface } from "node:readline";
import type { Screen } from "./screen.ts";

/** Why the program is left before the job has ended. */
export type Leaving = "SIGINT" | "SIGTERM" | "SIGHUP";

export interface InterruptHandlers {
  /** Asked on a terminal at the first Ctrl-C; without it every Ctrl-C leaves. */
  question?: string;
  /** The answer to the question was yes. */
  onYes(): void;
  onLeave(signal: Leaving): void;
}

/**
 * Handles Ctrl-C and the other signals that end a program. On a terminal the first Ctrl-C asks a question, and the
 * second one leaves; elsewhere the first one leaves. Returns a function that stops handling them.
 */
export function onInterrupt(screen: Screen, handlers: InterruptHandlers): () => void {
  let closeQuestion: (() => void) | null = null;
  const isInteractive = process.stdin.isTTY === true && process.stderr.isTTY === true;
  const leave = (signal: Leaving) => {
    closeQuestion?.();
    handlers.onLeave(signal);
  };
  const onSigint = () => {
    const { question } = handlers;
    if (question === undefined || !isInteractive || closeQuestion !== null) {
      leave("SIGINT");
      return;
    }
    closeQuestion = ask(screen, question, {
      onAnswer: (yes) => {
        closeQuestion = null;
        if (yes) handlers.onYes();
      },
      onInterrupt: () => leave("SIGINT"),
    });
  };
  const onSigterm = () => leave("SIGTERM");
  const onSighup = () => leave("SIGHUP");
  process.on("SIGINT", onSigint).on("SIGTERM", onSigterm).on("SIGHUP", onSighup);
  return () => {
    closeQuestion?.();
    process.off("SIGINT", onSigint).off("SIGTERM", onSigterm).off("SIGHUP", onSighup);
  };
}

/** Asks a question on the terminal while the output waits. Returns a function that takes it back. */
function ask(
  screen: Screen,
  question: string,
  handlers: { onAnswer(yes: boolean): void; onInterrupt(): void },
): () => void {
  screen.pause();
  // It puts the terminal into raw mode, so that Ctrl-C comes as an event of its own instead of a signal.
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  let isOver = false;
  const close = () => {
    if (isOver) return;
    isOver = true;
    reader.close();
    // Otherwise the program would not end, as it could still be typed into.
    process.stdin.pause();
    screen.resume();
  };
  reader.on("SIGINT", () => {
    process.stderr.write("\n");
    handlers.onInterrupt();
  });
  // Ctrl-D is no answer, and so no yes.
  reader.on("close", () => {
    if (isOver) return;
    close();
    handlers.onAnswer(false);
  });
  reader.question(`${question} `, (answer) => {
    const yes = /^y(es)?$/i.test(answer.trim());
    close();
    handlers.onAnswer(yes);
  });
  return close;
}
