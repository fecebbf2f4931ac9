/** How far a workflow is. */
export interface WorkflowReport {
  percent: number;
  /** The node that runs. */
  node: string | null;
  /** Steps that it has done, and all of them. */
  steps: { value: number; max: number } | null;
  /** Seconds. */
  remainingS: number | undefined;
}

/** How long each node took, milliseconds, by its id. */
export type NodeTimes = ReadonlyMap<string, number>;

interface RunningNode {
  id: string;
  startedAt: number;
  /** The first step that was reported, and when: what came before it was loading. */
  first: { value: number; at: number } | null;
  steps: { value: number; max: number } | null;
}

/** Without times from an earlier run, every node counts the same. */
const UNKNOWN_MS = 1_000;

/**
 * Estimates how far a workflow is from the nodes that have run, and how long it still takes: from the steps of the
 * node that runs, and from how long the nodes took in the run before. Times are milliseconds of one clock.
 */
export class WorkflowProgress {
  readonly #pending: Set<string>;
  readonly #before: NodeTimes;
  readonly #times = new Map<string, number>();
  #doneMs = 0;
  #running: RunningNode | null = null;
  #percent = 0;

  constructor(nodes: readonly string[], before: NodeTimes) {
    this.#pending = new Set(nodes);
    this.#before = before;
  }

  /** Nodes whose output ComfyUI still has from an earlier run. */
  onCached(nodes: readonly string[]): void {
    for (const node of nodes) this.#pending.delete(node);
  }

  /** @param node `null`: the last one has ended */
  onExecuting(node: string | null, now: number): void {
    if (this.#running?.id === node) return;
    if (this.#running !== null) {
      this.#times.set(this.#running.id, now - this.#running.startedAt);
      this.onFinished(this.#running.id);
    }
    this.#running = node === null ? null : { id: node, startedAt: now, first: null, steps: null };
  }

  onFinished(node: string): void {
    if (this.#pending.delete(node)) this.#doneMs += this.#expectedMs(node);
  }

  /** @param node if it isn't known, the node that runs */
  onSteps(node: string | null, value: number, max: number, now: number): void {
    if (node !== null && node !== this.#running?.id) this.onExecuting(node, now);
    const running = this.#running;
    if (running === null || max <= 0) return;
    running.first ??= { value, at: now };
    running.steps = { value: Math.min(value, max), max };
  }

  /** How long the nodes took that ran here, and for the others as long as before. */
  get times(): NodeTimes {
    return new Map([...this.#before, ...this.#times]);
  }

  report(now: number): WorkflowReport {
    const running = this.#running;
    const waitingMs = [...this.#pending].reduce((sum, node) => sum + this.#expectedMs(node), 0);
    const totalMs = this.#doneMs + waitingMs;
    const { value, max } = running?.steps ?? { value: 0, max: 1 };
    const partMs =
      running !== null && this.#pending.has(running.id)
        ? (value / max) * this.#expectedMs(running.id)
        : 0;
    const percent = totalMs === 0 ? 0 : (100 * (this.#doneMs + partMs)) / totalMs;
    // A node that is reported late must not turn the bar back; 100 is for the result.
    this.#percent = Math.max(this.#percent, Math.min(99, percent));
    return {
      percent: this.#percent,
      node: running?.id ?? null,
      steps: running?.steps ?? null,
      remainingS: this.#remainingS(now),
    };
  }

  #expectedMs(node: string): number {
    return this.#before.get(node) ?? UNKNOWN_MS;
  }

  /** Known if the node that runs counts its steps, or if all that is left has run before. */
  #remainingS(now: number): number | undefined {
    const running = this.#running;
    if (running === null) return undefined;
    const others = [...this.#pending].filter((node) => node !== running.id);
    const isKnown = others.every((node) => this.#before.has(node));
    const stepsMs = remainingOfSteps(running, now);
    if (stepsMs === null && !(isKnown && this.#before.has(running.id))) return undefined;
    const expected = this.#before.get(running.id) ?? 0;
    const nodeMs = stepsMs ?? Math.max(0, expected - (now - running.startedAt));
    const othersMs = others.reduce((sum, node) => sum + (this.#before.get(node) ?? 0), 0);
    return Math.round((nodeMs + othersMs) / 100) / 10;
  }
}

function remainingOfSteps({ first, steps }: RunningNode, now: number): number | null {
  if (first === null || steps === null || steps.value <= first.value) return null;
  return ((steps.max - steps.value) * (now - first.at)) / (steps.value - first.value);
}
