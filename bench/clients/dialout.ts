import { type BenchFrame, openSocket, senderOn } from "./socket.ts";
import { INPUT, InFlight, type Submitter } from "./submitter.ts";

const ENDED = new Set(["completed", "failed", "canceled"]);

/** Submits over a space's socket, where each job's end is reported too. */
export class DialoutSubmitter implements Submitter {
  private readonly accepting = new InFlight();
  private readonly ending = new InFlight();
  private readonly refs = new Map<string, number>();
  private readonly sender: Promise<(text: string) => void>;

  constructor(url: string) {
    this.sender = openSocket(url, (frame) => this.onFrame(frame)).then(senderOn);
  }

  /** Resolves once the job has completed. */
  async submit(): Promise<void> {
    const send = await this.sender;
    return this.ending.send((ref) => send(submitFrame(ref)));
  }

  /** Resolves once the job is accepted and ignores its end. */
  async enqueue(): Promise<void> {
    const send = await this.sender;
    return this.accepting.send((ref) => send(submitFrame(-ref)));
  }

  private onFrame({ type, ref, job_id, status, code, message }: BenchFrame): void {
    if (type === "accepted" && ref !== undefined && job_id !== undefined) {
      if (ref < 0) this.accepting.end(-ref);
      else this.refs.set(job_id, ref);
    } else if (type === "progress" && job_id !== undefined && ENDED.has(status ?? "")) {
      const ended = this.refs.get(job_id);
      this.refs.delete(job_id);
      if (status === "completed") this.ending.end(ended);
      else if (ended !== undefined) this.ending.fail(ended, `job ${status}`);
    } else if (type === "error") {
      const reason = `${code}: ${message}`;
      if (ref !== undefined && ref < 0) this.accepting.fail(-ref, reason);
      else this.ending.fail(ref, reason);
    }
  }
}

function submitFrame(ref: number): string {
  return JSON.stringify({ type: "submit", ref, input: INPUT });
}
