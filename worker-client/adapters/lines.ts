/**
 * Longest line a program may write, characters: more than any frame holds, so that a result that is
 * too large is named as such, and little enough to be kept in memory.
 */
export const MAX_LINE_CHARS = 4 * 1024 * 1024;

/** Cuts what arrives in pieces into lines, each with its line break; the last may have none. */
export class LineSplitter {
  #rest = "";
  readonly #emit: (line: string) => void;

  constructor(emit: (line: string) => void) {
    this.#emit = emit;
  }

  /** @throws RangeError on a line that is too long */
  push(piece: string): void {
    let start = 0;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", start)) {
      const line = this.#rest + piece.slice(start, end + 1);
      this.#rest = "";
      start = end + 1;
      this.#emit(line);
    }
    this.#rest += piece.slice(start);
    if (this.#rest.length > MAX_LINE_CHARS) {
      throw new RangeError(`a line of more than ${MAX_LINE_CHARS} characters`);
    }
  }

  end(): void {
    const last = this.#rest;
    this.#rest = "";
    if (last !== "") this.#emit(last);
  }
}
