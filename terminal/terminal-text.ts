/** Control characters but for tab and line break, and marks that change the order of what is shown. */
const UNSAFE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
const REPLACEMENT = "\ufffd";
/** A sequence that is longer than this is none, characters. */
const LONGEST_SEQUENCE = 256;

type State = "text" | "escape" | "control" | "string" | "string escape";

/**
 * Takes escape sequences for the terminal out of text that comes in pieces. The text is a stranger's, and such
 * sequences can rename the window, write to the clipboard, hide what is shown, or answer for the keyboard. A sequence
 * may be split over two pieces. One that doesn't end is given up at the end of its line, so that it hides no more.
 */
export class TerminalCleaner {
  #state: State = "text";
  #length = 0;

  clean(piece: string): string {
    let shown = "";
    for (const character of piece) shown += this.#next(character);
    return shown;
  }

  #next(character: string): string {
    if (this.#state === "text") return this.#onText(character);
    this.#length += 1;
    if (character === "\n" || this.#length > LONGEST_SEQUENCE) {
      this.#state = "text";
      return character === "\n" ? "\n" : REPLACEMENT;
    }
    this.#state = nextState(this.#state, character);
    return "";
  }

  #onText(character: string): string {
    if (character === "\n" || character === "\t") return character;
    const begins = BEGINNINGS[character];
    if (begins !== undefined) {
      this.#state = begins;
      this.#length = 0;
      return "";
    }
    // What comes before the line break of another system.
    if (character === "\r") return "";
    return UNSAFE.test(character) ? REPLACEMENT : character;
  }
}

/** The characters that begin a sequence: ESC, and those of C1. */
const BEGINNINGS: Record<string, State> = {
  "\u001b": "escape",
  "\u009b": "control",
  "\u0090": "string",
  "\u0098": "string",
  "\u009d": "string",
  "\u009e": "string",
  "\u009f": "string",
};

function nextState(state: State, character: string): State {
  if (character === "\u001b") return state === "string" ? "string escape" : "escape";
  switch (state) {
    case "escape":
      if (character === "[") return "control";
      if (/[P\]X^_]/.test(character)) return "string";
      // Intermediate characters; the one after them ends it.
      return /[ -/]/.test(character) ? "escape" : "text";
    case "control":
      return /[@-~]/.test(character) ? "text" : "control";
    case "string":
      return character === "\u0007" || character === "\u009c" ? "text" : "string";
    default:
      return character === "\\" ? "text" : "string";
  }
}

/** A stranger's text as one line of a message, without anything that a terminal would obey. */
export function oneLine(text: string, most = 2_000): string {
  const cleaned = new TerminalCleaner().clean(text);
  return cleaned.replace(/\s*[\n\t]\s*/g, " ").slice(0, most);
}
