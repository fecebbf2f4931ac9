import pc from "picocolors";
import { diagnose, type Patient } from "./diagnosis.ts";
import type { Finding, Level } from "./finding.ts";

/** The words of the levels, and how wide the widest is. */
const WORDS: Record<Level, string> = { ok: "ok", warning: "warning", wrong: "WRONG", unknown: "-" };
const WORD_WIDTH = 8;
const CHECK_WIDTH = 10;

export interface ReportOptions {
  /** Prints one JSON object a line instead of text. */
  json: boolean;
  isColored: boolean;
  write(line: string): void;
}

/** Prints the findings as they come. Returns the exit code: 0 if nothing is wrong, otherwise 1. */
export async function report(patient: Patient, options: ReportOptions): Promise<number> {
  const counts: Record<Level, number> = { ok: 0, warning: 0, wrong: 0, unknown: 0 };
  for await (const finding of diagnose(patient)) {
    counts[finding.level] += 1;
    if (options.json) options.write(JSON.stringify(finding));
    else for (const line of linesOf(finding, options.isColored)) options.write(line);
  }
  if (!options.json) options.write(summary(counts.wrong, counts.warning));
  return counts.wrong === 0 ? 0 : 1;
}

export function linesOf(finding: Finding, isColored: boolean): string[] {
  const colors = pc.createColors(isColored);
  const paint = {
    ok: colors.green,
    warning: colors.yellow,
    wrong: colors.red,
    unknown: colors.gray,
  };
  const { check, level, message, advice } = finding;
  const word = paint[level](WORDS[level].padEnd(WORD_WIDTH));
  const line = `${word}${check.padEnd(CHECK_WIDTH)} ${oneLine(message)}`;
  if (advice === undefined) return [line];
  return [line, `${" ".repeat(WORD_WIDTH + CHECK_WIDTH)} help: ${oneLine(advice)}`];
}

function summary(wrong: number, warnings: number): string {
  if (wrong > 0) return `\n${wrong === 1 ? "One thing is" : `${wrong} things are`} wrong.`;
  if (warnings > 0) return "\nNothing is wrong, but see the warnings.";
  return "\nEverything that was looked at is in order.";
}

/** Certificates and answers of strangers may contain anything. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, " ").slice(0, 600);
}
