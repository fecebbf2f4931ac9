/**
 * The longest line that a program may write, characters. It is longer than any frame, so that a result
 * that is too large is reported as such, and short enough to be kept in memory.
 */
export const MAX_LINE_CHARS = 4 * 1024 * 1024;

/** How much of a line that is too long is kept, to say what it was about. */
const KEPT_CHARS = 1_000;

/** Splits a stream of text into lines that keep their line break; the last line may have none. */
export class LineSplitter {
  #rest = "";
  /** The line is too long, and what still comes of it is thrown away. */
  #isSkipping = false;
  readonly #emit: (line: string) => void;
  readonly #onTooLong: (beginning: string) => void;

  /** @param onTooLong called with the beginning of a line that is too long, and thrown away; it may throw */
  constructor(emit: (line: string) => void, onTooLong: (beginning: string) => void = throwTooLong) {
    this.#emit = emit;
    this.#onTooLong = onTooLong;
  }

  /** @throws RangeError on a line that is too long, unless there is an `onTooLong` */
  push(piece: string): void {
    let start = 0;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", start)) {
      const line = this.#rest + piece.slice(start, end + 1);
      const isSkipped = this.#isSkipping;
      this.#rest = "";
      this.#isSkipping = false;
      start = end + 1;
      if (!isSkipped) this.#emit(line);
    }
    if (this.#isSkipping) return;
    this.#rest += piece.slice(start);
    if (this.#rest.length > MAX_LINE_CHARS) this.#skip();
  }

  end(): void {
    const last = this.#rest;
    this.#rest = "";
    if (last !== "") this.#emit(last);
  }

  #skip(): void {
    const beginning = this.#rest.slice(0, KEPT_CHARS);
    this.#rest = "";
    this.#isSkipping = true;
    this.#onTooLong(beginning);
  }
}

export const TOO_LONG = `a line of more than ${MAX_LINE_CHARS} characters`;

function throwTooLong(): never {
  throw new RangeError(TOO_LONG);
}
