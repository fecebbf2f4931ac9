/** A part of a batch. */
export type Work = (now: number) => void;

/** What a call does in a batch, and what it answers once that is stored, and the jobs it is `about` are. */
export type Question<T> = (now: number) => { answer: () => T; about?: readonly string[] };

/** Runs `callback` once the batch, and every job in `about`, is stored. */
interface AfterStored {
  after(callback: () => void, about?: readonly string[]): void;
}

interface InboxDeps {
  sendBuffer: AfterStored;
  /** Whether a batch should wait a moment for more. */
  isBurst: (now: number) => boolean;
  run: (works: Work[]) => void;
}

/** So many deps are a batch worth its transaction. */
const MANY = 8;

/** Gathers what arrives in the same turn into one batch. */
export class Inbox {
  private readonly deps: InboxDeps;
  private works: Work[] = [];
  private drained: Promise<void> | null = null;

  constructor(deps: InboxDeps) {
    this.deps = deps;
  }

  /** Joins the next batch. */
  join<T>(work: Question<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.works.push((now) => {
        try {
          const { answer, about } = work(now);
          this.deps.sendBuffer.after(() => resolve(answer()), about);
        } catch (error) {
          reject(error);
          throw error;
        }
      });
      this.drained ??= this.drainSoon();
    });
  }

  /** Everything that waits for the next batch, for one that runs at once. */
  takeAll(): Work[] {
    const { works } = this;
    this.works = [];
    return works;
  }

  private async drainSoon(): Promise<void> {
    // Frames that came in with this one have their turns first.
    await Promise.resolve();
    // Who sends many frames as one message has waited for more already.
    if (this.works.length < MANY && this.deps.isBurst(Date.now())) await scheduler.wait(0);
    this.drained = null;
    const works = this.takeAll();
    if (works.length > 0) this.deps.run(works);
  }
}
