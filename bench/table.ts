import type { SuiteResult } from "./results.ts";
import type { MetricSummary } from "./statistics.ts";
import type { Suite } from "./suites/suite.ts";

/** Formats a suite as a table: median (min–max), and the ratio to the suite's base. */
export function tableOf(suite: Suite, { rows, left_out }: SuiteResult): string {
  const heads = [
    "",
    ...suite.columns.flatMap(({ heading, ratio }) => [
      heading,
      ...(ratio ? [`× ${suite.base}`] : []),
    ]),
  ];
  const body = Object.values(rows).map(({ label, figures, ratios }) => [
    label,
    ...suite.columns.flatMap(({ metric, ratio }) => {
      const figure = figures[metric];
      const share = ratios[metric];
      const cells = [figure ? withSpread(figure) : ""];
      return ratio ? [...cells, share ? formatNumber(share.median) : ""] : cells;
    }),
  ]);
  const table = [heads, ...body];
  const widths = heads.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  const lines = table.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0, column))
      .join("  ")
      .trimEnd(),
  );
  const missing = Object.entries(left_out).map(([name, reason]) => `left out: ${name}: ${reason}`);
  return ["", suite.title, "─".repeat(suite.title.length), ...lines, ...missing].join("\n");
}

function withSpread({ median, min, max, samples }: MetricSummary): string {
  if (samples.length < 2) return formatNumber(median);
  return `${formatNumber(median)} (${formatNumber(min)}–${formatNumber(max)})`;
}

/** Three significant digits: more would suggest a precision that was not measured. */
function formatNumber(value: number): string {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(value);
}

/** Aligns the labels in the first column to the left and numbers to the right. */
function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
