import { z } from "zod";

/** The input of a job: its number, its duration in milliseconds, and how many pieces of output it streams. */
export const workInput = z.object({ n: z.int(), ms: z.number(), pieces: z.int() });
export type WorkInput = z.infer<typeof workInput>;

/** The output and result that every correct run of a job has, whichever attempt it was. */
export function expectedOf({ n, pieces }: WorkInput) {
  const output = Array.from({ length: pieces }, (_, index) => pieceOf(n, index));
  return { output: output.length === 0 ? null : output.join(""), result: { n, square: n * n } };
}

export function pieceOf(n: number, index: number): string {
  return `${n}.${index};`;
}
