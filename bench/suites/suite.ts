import type { Sandbox } from "../sandbox.ts";

/** How long a turn measures, and how long it warms up before, until all code is compiled. */
export interface Timing {
  ms: number;
  warmMs: number;
}

export type Measured = Record<string, number>;

/** One candidate of a suite. The candidates take turns, and each turn starts from nothing. */
export interface BenchSubject {
  name: string;
  label: string;
  /** Returns why it can't be measured here, or `null`. */
  missing?: () => string | null;
  measure: (sandbox: Sandbox, timing: Timing) => Promise<Measured>;
}

export interface TableColumn {
  metric: string;
  heading: string;
  /** Shows the ratio to the suite's `base` in the same round beside the figure. */
  ratio?: boolean;
}

export interface Suite {
  name: string;
  title: string;
  columns: TableColumn[];
  subjects: BenchSubject[];
  /** The name of the subject that the others are compared with. */
  base: string;
  /** Fewer rounds than asked for, if more would show nothing new. */
  maxRounds?: number;
}

/** Thrown when the edge lacks what would be measured, such as a route. */
export class NotSupported extends Error {}

export const IN_FLIGHT = 64;
