import type { WorkerRefused } from "./refusal.ts";

/** What a worker does, for programs and pages that show it. `jobs` is how many attempts it holds. */
export type WorkerState =
  /** It dials, or waits to dial again; `why` is what was wrong the last time, `null` if nothing was. */
  | { phase: "connecting"; why: string | null; jobs: number }
  | { phase: "serving"; jobs: number }
  /** It takes no new jobs, and finishes those that it has. */
  | { phase: "draining"; jobs: number }
  /** It was drained or stopped; or the edge refused it for good, with the code `replaced` if another has its place. */
  | { phase: "ended"; refusal: WorkerRefused | null };

/** Keeps a worker's state, and reports it when it has changed. */
export class StateReporter {
  #current: WorkerState = { phase: "connecting", why: null, jobs: 0 };
  #problem: string | null = null;
  readonly #onState: ((state: WorkerState) => void) | undefined;

  constructor(onState?: (state: WorkerState) => void) {
    this.#onState = onState;
  }

  get current(): WorkerState {
    return this.#current;
  }

  /** A dial or a connection has failed. */
  onProblem(why: string): void {
    this.#problem = why;
  }

  onConnecting(jobs: number): void {
    this.report({ phase: "connecting", why: this.#problem, jobs });
  }

  report(state: WorkerState): void {
    if (state.phase !== "connecting") this.#problem = null;
    const isKnown = this.#onState === undefined || isSame(this.#current, state);
    this.#current = state;
    if (!isKnown) this.#onState?.(state);
  }
}

function isSame(a: WorkerState, b: WorkerState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
