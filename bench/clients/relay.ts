import type { WebSocket } from "ws";
import { type BenchFrame, openSocket } from "./socket.ts";
import { INPUT, InFlight, type Submitter } from "./submitter.ts";

/** Submits over a socket of `RelayObject`. */
export class RelaySubmitter implements Submitter {
  private readonly inFlight = new InFlight();
  private readonly socket: Promise<WebSocket>;

  constructor(url: string) {
    this.socket = openSocket(url, ({ type, ref }: BenchFrame) => {
      if (type === "end") this.inFlight.end(ref);
    });
  }

  async submit(): Promise<void> {
    const socket = await this.socket;
    return this.inFlight.send((ref) => {
      socket.send(JSON.stringify({ type: "submit", ref, input: INPUT }));
    });
  }
}
