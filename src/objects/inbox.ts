/** One command of a batch; `now` is the batch's time, milliseconds since 1970. */
export type BatchStep = (now: number) => void;

/**
 * A command whose caller waits. It runs in a batch and returns how to make the answer; `answer` is called once
 * the batch, and every job in `about` (ULIDs), is stored.
 */
export type AnsweredStep<T> = (now: number) => { answer: () => T; about?: readonly string[] };

/** Runs `callback` once the batch, and every job in `about`, is stored. */
interface AfterStored {
  after(callback: () => void, about?: readonly string[]): void;
}

interface InboxDeps {
  sendBuffer: AfterStored;
  /** Whether a batch should wait a moment for more. */
  isBurst: (now: number) => boolean;
  /** Runs the commands as one batch. */
  run: (steps: BatchStep[]) => void;
}

/** With this many commands a batch no longer waits for more (decision 0006). */
const FULL_BATCH = 8;

/** Gathers the commands that arrive in the same turn of the event loop into one batch (decision 0006). */
export class Inbox {
  private readonly deps: InboxDeps;
  private steps: BatchStep[] = [];
  private drained: Promise<void> | null = null;

  constructor(deps: InboxDeps) {
    this.deps = deps;
  }

  /** Adds a command to the next batch. Rejects if the command throws. */
  join<T>(step: AnsweredStep<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.steps.push((now) => {
        try {
          const { answer, about } = step(now);
          this.deps.sendBuffer.after(() => resolve(answer()), about);
        } catch (error) {
          reject(error);
          throw error;
        }
      });
      this.drained ??= this.drainSoon();
    });
  }

  /** Removes and returns the commands that wait for the next batch, so that the caller can run them at once. */
  takeAll(): BatchStep[] {
    const { steps } = this;
    this.steps = [];
    return steps;
  }

  private async drainSoon(): Promise<void> {
    // Lets the frames that came in together with this one join first.
    await Promise.resolve();
    // A client that sends many frames as one message has already waited for more.
    if (this.steps.length < FULL_BATCH && this.deps.isBurst(Date.now())) await scheduler.wait(0);
    this.drained = null;
    const steps = this.takeAll();
    if (steps.length > 0) this.deps.run(steps);
  }
}
