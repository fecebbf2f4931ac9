import { type Command, InvalidArgumentError } from "commander";
import type { Printing } from "./job-printer.ts";
import { Screen } from "./screen.ts";

/** How a command that follows a job prints it. */
export interface OutputOptions {
  json: boolean;
  result: boolean;
  quiet: boolean;
  save?: string;
}

export function addOutputOptions(command: Command): Command {
  return command
    .option("--json", "print every event as a line of JSON", false)
    .option("--result", "print the job's result alone, and not its output as it comes", false)
    .option(
      "--heartbeat <seconds>",
      "after so much silence the connection is tried, and after as much again replaced (default: 20)",
      parseSeconds,
    )
    .option("--save <folder>", "save the job's output files there")
    .option("--quiet", "print only the output, and errors", false);
}

function parseSeconds(text: string): number {
  if (/^\d{1,4}(\.\d+)?$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError("It is not a number of seconds above 0.");
}

export function printingOf({ json, result }: OutputOptions): Printing {
  if (json) return "events";
  return result ? "result" : "stream";
}

export function screenFor({ quiet }: { quiet: boolean }): Screen {
  const { stdout, stderr } = process;
  return new Screen({ stdout, stderr, isColored: !process.env.NO_COLOR, isQuiet: quiet });
}
