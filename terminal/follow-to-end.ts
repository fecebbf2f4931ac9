import type { Connection, JobHandle, JobProgress } from "../src/client/index.ts";
import { EXIT } from "./exit-code.ts";
import { explain } from "./explain.ts";
import { type Leaving, onInterrupt } from "./interrupt.ts";
import { JobPrinter, type Printing } from "./job-printer.ts";
import { saveOutputs } from "./save-outputs.ts";
import type { Screen } from "./screen.ts";

export interface Following {
  job: JobHandle;
  screen: Screen;
  printing: Printing;
  /** Where the following begins; `undefined`: with what the edge still has. */
  since?: string;
  /** The folder for the job's output files; `undefined`: they are not saved. */
  saveTo?: string;
}

type Outcome = { type: "ended"; end: JobProgress } | { type: "left"; signal: Leaving };

/**
 * Prints a job until it ends, over broken connections. Returns the exit code.
 *
 * @throws {DialoutError} if the edge refuses to let it be followed
 */
export async function followToEnd(following: Following): Promise<number> {
  const { screen, job, saveTo } = following;
  const printer = new JobPrinter(screen, following.printing);
  const outcome = await watch(following, printer);
  screen.show(null);
  if (outcome.type === "left") return explainLeaving(outcome.signal, job.id, printer, screen);
  const { end } = outcome;
  if (end.status !== "completed") {
    const { code = end.status, message = "" } = end.error ?? {};
    const isCanceled = end.status === "canceled";
    screen.error(isCanceled ? "the job was canceled" : `the job failed: ${message} (${code})`);
    return isCanceled ? EXIT.canceled : EXIT.failed;
  }
  const { outputs = [] } = end;
  if (saveTo !== undefined) {
    return (await saveOutputs(outputs, saveTo, screen)) ? EXIT.ok : EXIT.notSaved;
  }
  for (const { name, size, url } of outputs) screen.note(`file ${name} (${size} bytes): ${url}`);
  return EXIT.ok;
}

function watch({ job, screen, since }: Following, printer: JobPrinter): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const reports = new ConnectionReports(screen);
    const subscription = job.follow({
      since,
      onProgress: (event) => printer.onEvent(event),
      onOutput: (event) => printer.onEvent(event),
      onFile: (event) => printer.onEvent(event),
      onRestart: (event) => printer.onEvent(event),
      onGap: (event) => printer.onEvent(event),
      onEnd: (end) => finish({ type: "ended", end }),
      onConnection: (connection) => reports.onConnection(connection),
    });
    const stopListening = onInterrupt(screen, {
      question: `Cancel the job ${job.id}? [y/N, Ctrl-C leaves it running]`,
      onYes: () => void cancel(job, screen),
      onLeave: (signal) => finish({ type: "left", signal }),
    });
    const finish = (outcome: Outcome) => {
      stopListening();
      resolve(outcome);
      subscription.close();
    };
    void subscription.closed.then((error) => {
      stopListening();
      if (error !== null) reject(error);
    });
  });
}

async function cancel(job: JobHandle, screen: Screen): Promise<void> {
  try {
    const { status } = await job.cancel();
    if (status === "processing") screen.note("the worker is asked to stop");
  } catch (error) {
    const { message, help } = explain(error);
    screen.error(`the job could not be canceled: ${message}`, help);
  }
}

function explainLeaving(
  signal: Leaving,
  id: string,
  { position }: JobPrinter,
  screen: Screen,
): number {
  const since = position === null ? "" : ` --since ${position}`;
  screen.warning("left before the job ended; it goes on", [
    `to follow it again: dialout follow ${id}${since}`,
    `to cancel it: dialout cancel ${id}`,
  ]);
  return signal === "SIGINT" ? EXIT.interrupted : EXIT.terminated;
}

/** Says that the connection is lost, and that it is there again; each reason once. */
class ConnectionReports {
  readonly #screen: Screen;
  #reported: string | null = null;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  onConnection(connection: Connection): void {
    if (connection.state === "open") {
      if (this.#reported !== null) this.#screen.note("connected again");
      this.#reported = null;
    } else if ("error" in connection && connection.state !== "closed") {
      const { code, message } = connection.error;
      if (this.#reported !== code) this.#screen.note(`no connection: ${message} Trying again.`);
      this.#reported = code;
    }
  }
}
