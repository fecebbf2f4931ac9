import { parseArgs } from "node:util";

export interface BenchOptions {
  rounds: number;
  seconds: number;
  /** Names of suites and subjects to run; `null` runs all. */
  only: Set<string> | null;
  save: boolean;
}

export const USAGE = `npm run bench -- [--rounds 5] [--seconds 5] [--only NAMES] [--no-save]

  --rounds N    turns each subject gets; its median counts
  --seconds N   length of one measurement
  --only NAMES  suites or subjects, separated by commas: the result is printed, and not saved
  --no-save     leave bench/results/latest.json as it is`;

/** Throws an error that says which argument is wrong. */
export function readOptions(args: string[]): BenchOptions {
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "5" },
      only: { type: "string" },
      save: { type: "boolean", default: true },
    },
  });
  const only = values.only === undefined ? null : new Set(values.only.split(","));
  return {
    rounds: positive("rounds", values.rounds, Number.isInteger),
    seconds: positive("seconds", values.seconds, Number.isFinite),
    only,
    save: values.save && only === null,
  };
}

function positive(name: string, text: string, fits: (value: number) => boolean): number {
  const value = Number(text);
  if (fits(value) && value > 0) return value;
  throw new Error(`--${name} must be a number above 0, not ${text}`);
}
