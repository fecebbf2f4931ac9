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

/**
 * The most commands of one batch, and the most characters of their frames. The rest waits for the next turn, so that
 * requests and other objects get theirs in between (decision 0044). A batch this large gains nothing from being
 * larger: its transaction and its messages cost little beside its commands.
 */
const SLICE_COMMANDS = 500;
const SLICE_LENGTH = 524_288;

interface WaitingStep {
  run: BatchStep;
  length: number;
}

/** Gathers the commands that arrive in the same turn of the event loop into batches (decisions 0006 and 0044). */
export class Inbox {
  private readonly deps: InboxDeps;
  private steps: WaitingStep[] = [];
  private drained: Promise<void> | null = null;

  constructor(deps: InboxDeps) {
    this.deps = deps;
  }

  /**
   * Adds a command to the next batch. Rejects if the command throws.
   *
   * @param length the length of its frame, characters
   */
  join<T>(step: AnsweredStep<T>, length = 0): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (now: number) => {
        try {
          const { answer, about } = step(now);
          this.deps.sendBuffer.after(() => resolve(answer()), about);
        } catch (error) {
          reject(error);
          throw error;
        }
      };
      this.add(run, length);
    });
  }

  /** Adds a command for whose end nobody waits: of thousands at once, each then costs little. */
  add(run: BatchStep, length: number): void {
    this.steps.push({ run, length });
    this.drained ??= this.drainSoon();
  }

  /** Whether no command waits. */
  get isEmpty(): boolean {
    return this.steps.length === 0;
  }

  /** Whether all that wait fit into one batch. */
  get fitsBatch(): boolean {
    return this.sliceEnd() === this.steps.length;
  }

  /**
   * Like `takeAll`, if they fit into one batch. Otherwise takes none: who runs something at once must not make everybody
   * wait for thousands of commands.
   */
  takeIfFew(): BatchStep[] {
    return this.fitsBatch ? this.takeAll() : [];
  }

  /** Removes and returns the commands that wait for the next batch, so that the caller can run them at once. */
  takeAll(): BatchStep[] {
    const { steps } = this;
    this.steps = [];
    return steps.map(({ run }) => run);
  }

  private async drainSoon(): Promise<void> {
    // Lets the frames that came in together with this one join first.
    await Promise.resolve();
    // A client that sends many frames as one message has already waited for more.
    if (this.steps.length < FULL_BATCH && this.deps.isBurst(Date.now())) await scheduler.wait(0);
    for (;;) {
      const slice = this.takeSlice();
      const isLast = this.steps.length === 0;
      // Commands that the last slice itself adds start another drain.
      if (isLast) this.drained = null;
      if (slice.length > 0) this.deps.run(slice);
      if (isLast) return;
      await scheduler.wait(0);
    }
  }

  /** Removes and returns the commands that come first, as many as one batch may have. */
  private takeSlice(): BatchStep[] {
    return this.steps.splice(0, this.sliceEnd()).map(({ run }) => run);
  }

  private sliceEnd(): number {
    let length = 0;
    const end = this.steps.findIndex((step, index) => {
      length += step.length;
      return index > 0 && (index >= SLICE_COMMANDS || length > SLICE_LENGTH);
    });
    return end < 0 ? this.steps.length : end;
  }
}
