import process from "node:process";

/** The functions of a program that the run can call, by name. */
export type ProgramCalls = Record<string, (argument: never) => unknown>;

export interface ProgramCall {
  id: number;
  name: string;
  argument: unknown;
}

export type ProgramAnswer =
  | { id: number; ok: true; value: unknown }
  | { id: number; ok: false; error: string };

/**
 * Answers the run's calls. The program leads a process group of its own, and kills the group when the
 * run has ended, however it ended.
 */
export function answerCalls(calls: ProgramCalls): void {
  process.on("message", async (call: ProgramCall) => {
    process.send?.(await answer(calls, call));
  });
  process.on("disconnect", () => process.kill(-process.pid, "SIGKILL"));
}

async function answer(
  calls: ProgramCalls,
  { id, name, argument }: ProgramCall,
): Promise<ProgramAnswer> {
  try {
    const call = calls[name] as ((argument: unknown) => unknown) | undefined;
    if (!call) throw new Error(`there is no call ${name}`);
    return { id, ok: true, value: await call(argument) };
  } catch (error) {
    return { id, ok: false, error: String(error) };
  }
}
