import { cut } from "./progress-words.ts";
import { oneLine } from "./terminal-text.ts";

export interface TableOptions {
  /** Columns of the terminal; `null`: there is none, and cells are separated by tabs, without a head. */
  columns: number | null;
}

/** The lines of a table. The last column gets the room that is left. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { columns }: TableOptions,
): string[] {
  const cells = rows.map((row) => row.map((cell) => oneLine(cell)));
  if (columns === null) return cells.map((row) => row.join("\t"));
  const all = [head, ...cells];
  const widths = head.map((_, index) => Math.max(...all.map((row) => row[index]?.length ?? 0)));
  return all.map((row) => {
    const line = row.map((cell, index) => {
      return index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0);
    });
    return cut(line.join("  ").trimEnd(), columns);
  });
}
