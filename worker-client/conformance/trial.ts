import { ConformanceEdge } from "./edge.ts";
import type { EdgeSocket, ReceivedFrame } from "./edge-socket.ts";
import { type HelloFrame, type RegisteredFrame, SPACE } from "./frames.ts";
import type { RuleId } from "./rules.ts";
import { Broken, Untried, type Verdicts } from "./verdicts.ts";
import { type WorkerCommand, WorkerProgram } from "./worker-program.ts";

/** Some rules that are tried with one worker. */
export interface Scenario {
  name: string;
  rules: readonly RuleId[];
  run(trial: Trial): Promise<void>;
}

export interface TrialDeps {
  command: WorkerCommand;
  token: string;
  verdicts: Verdicts;
  /** What must come is waited for this long, milliseconds. */
  patienceMs: number;
}

/** What must not come is waited for this long, milliseconds: longer than a worker waits before its second dial. */
const QUIET_MS = 2_700;
/** How often its patience a worker may take for its start. */
const STARTS = 3;
/** How much later than the bound of W31 a dial may come, milliseconds: programs and machines take their time. */
const SLACK_MS = 2_000;

/** One scenario with a worker and an edge of its own. */
export class Trial {
  readonly edge: ConformanceEdge;
  readonly patienceMs: number;
  readonly worker: WorkerProgram;
  readonly #name: string;
  readonly #verdicts: Verdicts;

  private constructor(name: string, edge: ConformanceEdge, worker: WorkerProgram, deps: TrialDeps) {
    this.#name = name;
    this.edge = edge;
    this.worker = worker;
    this.patienceMs = deps.patienceMs;
    this.#verdicts = deps.verdicts;
  }

  /** Runs a scenario; what it finds is in the verdicts. Returns the id of the worker, if it told one. */
  static async run(scenario: Scenario, deps: TrialDeps): Promise<string | null> {
    const { command, token, verdicts, patienceMs } = deps;
    const broken = (rule: RuleId, why: string) =>
      verdicts.broken(rule, `${why} (${scenario.name})`);
    const edge = await ConformanceEdge.start({ token, patienceMs, onBroken: broken });
    const worker = new WorkerProgram(command, { url: edge.url, space: SPACE, token });
    void worker.exited.then(() => {
      edge.isOver = true;
      edge.wake();
    });
    const trial = new Trial(scenario.name, edge, worker, deps);
    let ending = "";
    try {
      await scenario.run(trial);
    } catch (error) {
      if (error instanceof Broken) {
        broken(error.rule, error.message);
        ending = `${error.rule} was broken before`;
      } else if (error instanceof Untried) ending = error.message;
      else throw error;
    } finally {
      await worker.kill();
      await edge.close();
    }
    for (const rule of scenario.rules) if (verdicts.isOpen(rule)) verdicts.untried(rule, ending);
    return trial.workerId;
  }

  /** The id that the worker registered with. */
  get workerId(): string | null {
    const [first] = this.edge.sockets.flatMap(({ frames }) => frames);
    return typeof first?.worker_id === "string" ? first.worker_id : null;
  }

  kept(...rules: RuleId[]): void {
    for (const rule of rules) this.#verdicts.kept(rule);
  }

  /** Notes that the rule is kept or broken, and goes on in either case. */
  check(rule: RuleId, isKept: boolean, why: string): void {
    if (isKept) this.#verdicts.kept(rule);
    else this.#verdicts.broken(rule, `${why} (${this.#name})`);
  }

  /** @throws {Broken} if the rule is broken */
  require(rule: RuleId, isKept: boolean, why: string): void {
    if (!isKept) throw new Broken(rule, why);
    this.#verdicts.kept(rule);
  }

  /** @throws {Untried} */
  giveUp(why: string): never {
    throw new Untried(why);
  }

  /** The next connection of the worker. @throws {Broken} the rule, if none comes */
  async connection(rule: RuleId): Promise<EdgeSocket> {
    // Before the first dial the program has to start.
    const ms = this.edge.dials.length === 0 ? STARTS * this.patienceMs : this.patienceMs;
    const socket = await this.edge.nextSocket(ms);
    if (socket !== null) return socket;
    // A worker that never dialed has broken no other rule.
    const broken = this.edge.dials.length === 0 ? "W1" : rule;
    if (!this.worker.hasExited) throw new Broken(broken, `no dial came within ${ms / 1_000} s`);
    const printed = this.worker.printed.trim().split("\n").at(-1) ?? "";
    const words = printed === "" ? "it printed nothing" : printed.slice(0, 300);
    throw new Broken(broken, `the worker ended instead of dialing: ${words}`);
  }

  /** Waits for the worker's first dial, which may be refused. @throws {Broken} if it doesn't come */
  async requireStart(): Promise<void> {
    const ms = STARTS * this.patienceMs;
    if (await this.edge.untilDialed(1, ms)) return;
    throw new Broken("W1", `no dial came within ${ms / 1_000} s`);
  }

  /** The next connection with its whole handshake, as a rule's scenario begins. */
  async connect(
    rule: RuleId,
    hello: Partial<HelloFrame> = {},
    registered: Partial<RegisteredFrame> = {},
  ): Promise<{ socket: EdgeSocket; register: ReceivedFrame }> {
    const socket = await this.connection(rule);
    const register = await socket.welcome(hello, registered);
    return { socket, register };
  }

  /** Finds out that the worker doesn't dial again. */
  async requireNoDial(rule: RuleId, what: string): Promise<void> {
    const dials = this.edge.dials.length;
    await this.edge.untilTrue(
      () => this.edge.dials.length > dials || this.worker.hasExited,
      QUIET_MS,
    );
    this.require(rule, this.edge.dials.length === dials, `the worker dialed again after ${what}`);
  }

  /**
   * Waits for another dial, and checks how long the worker has waited.
   *
   * @param failures connections in a row that did not reach `registered`
   */
  async requireDial(rule: RuleId, what: string, failures: number): Promise<void> {
    const dials = this.edge.dials.length;
    const since = Date.now();
    const bound = Math.min(10_000, 1_000 * 2 ** failures);
    const came = await this.edge.untilDialed(dials + 1, bound + Math.max(this.patienceMs, 5_000));
    this.require(rule, came, `the worker did not dial again after ${what}`);
    const waited = Date.now() - since;
    const why = `it dialed ${waited} ms after ${what}; at most ${bound} ms may pass`;
    this.check("W31", waited <= bound + SLACK_MS, why);
  }
}
