import process from "node:process";

/** What a program of the benchmark can be asked, by name. */
export type Calls = Record<string, (argument: never) => unknown>;

export interface Call {
  id: number;
  name: string;
  argument: unknown;
}

export type Answer =
  | { id: number; ok: true; value: unknown }
  | { id: number; ok: false; error: string };

/**
 * Answers what the run asks. The program leads a process group of its own: when the run is gone,
 * however it went, the group goes with it.
 */
export function answerCalls(calls: Calls): void {
  process.on("message", async (call: Call) => {
    process.send?.(await answer(calls, call));
  });
  process.on("disconnect", () => process.kill(-process.pid, "SIGKILL"));
}

async function answer(calls: Calls, { id, name, argument }: Call): Promise<Answer> {
  try {
    const ask = calls[name] as ((argument: unknown) => unknown) | undefined;
    if (!ask) throw new Error(`there is no call ${name}`);
    return { id, ok: true, value: await ask(argument) };
  } catch (error) {
    return { id, ok: false, error: String(error) };
  }
}
