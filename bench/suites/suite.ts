import type { Stage } from "../stage.ts";

/** How long a turn measures, and works before that so that every just-in-time compiler is done. */
export interface Pace {
  ms: number;
  warmMs: number;
}

export type Measured = Record<string, number>;

/** What takes turns with the others of its suite; each turn starts it fresh. */
export interface Subject {
  name: string;
  label: string;
  /** Why it can't be measured here; throws nothing and installs nothing. */
  missing?: () => string | null;
  measure: (stage: Stage, pace: Pace) => Promise<Measured>;
}

export interface Column {
  metric: string;
  heading: string;
  /** Beside the figure, its ratio to that of the suite's `base` in the same round. */
  ratio?: boolean;
}

export interface Suite {
  name: string;
  title: string;
  columns: Column[];
  subjects: Subject[];
  /** The subject the others are compared with. */
  base: string;
  /** Where more rounds would tell nothing more. */
  maxRounds?: number;
}

/** Thrown where the edge does not have yet what would be measured. */
export class NotThere extends Error {}

export const IN_FLIGHT = 64;
