import type { JobEvent, JobProgress, Json } from "../src/client/index.ts";
import { standingOf } from "./progress-words.ts";
import type { Screen } from "./screen.ts";

/**
 * What of a job is printed to standard output: `stream`, its output as it comes, or its result if there was no output;
 * `result`, its result alone; `events`, every event as a line of JSON.
 */
export type Printing = "stream" | "result" | "events";

/** Prints what happens to a job. */
export class JobPrinter {
  readonly #screen: Screen;
  readonly #printing: Printing;
  /** Whether anything of the job's output has been printed. */
  #hasOutput = false;
  /** The position after the last event; `null` before the first. */
  position: string | null = null;

  constructor(screen: Screen, printing: Printing) {
    this.#screen = screen;
    this.#printing = printing;
  }

  onEvent(event: JobEvent): void {
    if ("position" in event) this.position = event.position;
    if (this.#printing === "events") this.#screen.line(JSON.stringify(event));
    switch (event.type) {
      case "progress":
        this.#onProgress(event);
        return;
      case "output":
        if (this.#printing === "stream") this.#print(event.delta);
        return;
      case "file":
        if (!event.preview) this.#screen.note(`the worker has sent ${event.file.name}`);
        return;
      case "restart":
        this.#onVoid(`attempt ${event.attempt} begins`);
        return;
      case "gap":
        this.#onVoid("some of the output is lost; what the edge still has follows");
    }
  }

  #onProgress(event: JobProgress): void {
    const isEnd = ["completed", "failed", "canceled"].includes(event.status);
    if (!isEnd) {
      this.#screen.show(standingOf(event, Date.now()));
      return;
    }
    this.#screen.show(null);
    if (this.#printing === "events") return;
    const isWanted = this.#printing === "result" || !this.#hasOutput;
    if (event.status === "completed" && isWanted) this.#print(event.result ?? null);
    if (this.#screen.isInLine) this.#screen.endLine();
  }

  /** Text is printed as it is, everything else as a line of JSON. */
  #print(value: Json): void {
    const isText = typeof value === "string";
    if (isText && value === "") return;
    this.#hasOutput = true;
    const start = !isText && this.#screen.isInLine ? "\n" : "";
    this.#screen.text(isText ? value : `${start}${JSON.stringify(value)}\n`);
  }

  /** What was printed can't be taken back. */
  #onVoid(why: string): void {
    const isPrinted = this.#hasOutput && this.#printing === "stream";
    this.#screen.note(isPrinted ? `${why}: the output up to here is void` : why);
    this.#hasOutput = false;
  }
}
