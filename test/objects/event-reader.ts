import type { Frame } from "./support.ts";

interface ServerEvent {
  id?: string;
  event?: string;
  data?: string;
}

/** Reads the events of a stream one after the other. */
export class EventReader {
  private text = "";
  private readonly reader: ReadableStreamDefaultReader<string>;

  constructor(answer: Response) {
    if (!answer.body) throw new Error("no body");
    this.reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Returns the next event, or `null` at the end of the stream. */
  async next(): Promise<(ServerEvent & { frame: Frame }) | null> {
    for (;;) {
      const [block, ...rest] = this.text.split("\n\n");
      if (block !== undefined && rest.length > 0) {
        this.text = rest.join("\n\n");
        if (block.startsWith(":")) continue;
        const event: ServerEvent = Object.fromEntries(
          block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)),
        );
        return { ...event, frame: JSON.parse(event.data ?? "") };
      }
      const { done, value } = await this.reader.read();
      if (done) return null;
      this.text += value;
    }
  }

  async rest() {
    const events: (ServerEvent & { frame: Frame })[] = [];
    for (let event = await this.next(); event; event = await this.next()) events.push(event);
    return events;
  }

  cancel(): Promise<void> {
    return this.reader.cancel();
  }
}
