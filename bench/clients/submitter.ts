/** Submits work and waits for it. */
export interface Submitter {
  /** Resolves once the work has ended, or is accepted if only that is measured. */
  submit(): Promise<unknown>;
}

/** A job's input: 200 bytes as JSON. */
export const INPUT = { prompt: "x".repeat(187) };

/** The promises of submits in flight, by the number each was sent with. */
export class InFlight {
  private readonly waiting = new Map<number, PromiseWithResolvers<void>>();
  private last = 0;

  send(send: (ref: number) => void): Promise<void> {
    this.last += 1;
    const waiting = Promise.withResolvers<void>();
    this.waiting.set(this.last, waiting);
    send(this.last);
    return waiting.promise;
  }

  end(ref: number | undefined): void {
    if (ref === undefined) return;
    this.waiting.get(ref)?.resolve();
    this.waiting.delete(ref);
  }

  fail(ref: number | undefined, reason: string): void {
    if (ref === undefined) throw new Error(reason);
    this.waiting.get(ref)?.reject(new Error(reason));
    this.waiting.delete(ref);
  }
}
