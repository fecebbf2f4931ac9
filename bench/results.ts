import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "../scripts/local.ts";
import type { MachineInfo } from "./machine.ts";
import { type MetricSummary, summarize } from "./statistics.ts";
import type { Measured, Suite } from "./suites/suite.ts";

export interface Row {
  label: string;
  figures: Record<string, MetricSummary>;
  /** By metric: the value divided by that of the suite's base in the same round. */
  ratios: Record<string, MetricSummary>;
}

/** The results of a suite. A subject is either in `rows`, or in `left_out` with the reason. */
export interface SuiteResult {
  title: string;
  rows: Record<string, Row>;
  left_out: Record<string, string>;
}

export interface BenchReport {
  measured_at: string;
  rounds: number;
  seconds: number;
  machine: MachineInfo;
  suites: Record<string, SuiteResult>;
}

/** `rounds[i]` has the measurements of round i by the name of the subject. */
export function suiteResultOf(
  suite: Suite,
  rounds: Map<string, Measured>[],
  leftOut: Map<string, string>,
): SuiteResult {
  const rows: Record<string, Row> = {};
  for (const { name, label } of suite.subjects) {
    if (leftOut.has(name) || !rounds.some((round) => round.has(name))) continue;
    const figures: Row["figures"] = {};
    const ratios: Row["ratios"] = {};
    for (const { metric, ratio } of suite.columns) {
      const values = rounds.flatMap((round) => round.get(name)?.[metric] ?? []);
      if (values.length === 0) continue;
      figures[metric] = summarize(values);
      const shares = rounds.flatMap((round) => {
        const [own, base] = [round.get(name)?.[metric], round.get(suite.base)?.[metric]];
        return own === undefined || base === undefined ? [] : own / base;
      });
      if (ratio && shares.length > 0) ratios[metric] = summarize(shares);
    }
    rows[name] = { label, figures, ratios };
  }
  return { title: suite.title, rows, left_out: Object.fromEntries(leftOut) };
}

/** Overwrites the latest results; earlier ones are in the history of the repository. */
export function save(report: BenchReport): string {
  const folder = join(import.meta.dirname, "results");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "latest.json");
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  spawnSync(process.execPath, [join(ROOT, "node_modules/.bin/biome"), "format", "--write", file]);
  return file;
}
