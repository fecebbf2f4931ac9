import { z } from "zod";

/** The input of a job under load: which it is, and how long and chatty its run. */
export const workInput = z.object({ n: z.int(), ms: z.number(), pieces: z.int() });
export type WorkInput = z.infer<typeof workInput>;

/** What a right run of it streams and returns, whoever ran it and how often. */
export function expectedOf({ n, pieces }: WorkInput) {
  const output = Array.from({ length: pieces }, (_, index) => pieceOf(n, index));
  return { output: output.length === 0 ? null : output.join(""), result: { n, square: n * n } };
}

export function pieceOf(n: number, index: number): string {
  return `${n}.${index};`;
}
