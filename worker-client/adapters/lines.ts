/**
 * The longest line that a program may write, characters. It is longer than any frame, so that a result
 * that is too large is reported as such, and short enough to be kept in memory.
 */
export const MAX_LINE_CHARS = 4 * 1024 * 1024;

/** Splits a stream of text into lines that keep their line break; the last line may have none. */
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
