import { MAX_LINE_CHARS } from "../lines.ts";

export interface ServerSentEvent {
  /** `message` if the event has no name. */
  event: string;
  data: string;
}

/** Reads the events of a `text/event-stream`, as the HTML standard describes. */
export class EventStreamReader {
  #rest = "";
  #isFirst = true;
  #event = "";
  #data: string[] = [];
  #chars = 0;

  /**
   * Takes the next piece of the stream, and returns the events that it completes.
   *
   * @throws {RangeError} on an event that is too long
   */
  push(piece: string): ServerSentEvent[] {
    let text = this.#rest + piece;
    if (this.#isFirst && text !== "") {
      text = text.replace(/^\uFEFF/, "");
      this.#isFirst = false;
    }
    const events: ServerSentEvent[] = [];
    // A carriage return at the end may be the first half of a line break.
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.#onLine(line);
      if (event !== null) events.push(event);
    }
    if (this.#rest.length + this.#chars > MAX_LINE_CHARS) {
      throw new RangeError(`an event of more than ${MAX_LINE_CHARS} characters`);
    }
    return events;
  }

  #onLine(line: string): ServerSentEvent | null {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "data") {
      this.#data.push(value);
      this.#chars += value.length + 1;
    }
    return null;
  }

  #dispatch(): ServerSentEvent | null {
    const event = this.#event || "message";
    const data = this.#data;
    this.#event = "";
    this.#data = [];
    this.#chars = 0;
    return data.length === 0 ? null : { event, data: data.join("\n") };
  }
}
