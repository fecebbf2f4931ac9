import {
  character,
  edgeAt,
  either,
  PatternError,
  repeated,
  type Sized,
  sequence,
  type Test,
} from "./pattern-steps.ts";

export type Flags = "su" | "s";

/** `u`, or none if the expression can only be read without: in older ones `\-` stands for a dash. */
export function flagsOf(source: string): Flags {
  try {
    new RegExp(source, "u");
    return "su";
  } catch {
    try {
      new RegExp(source);
      return "s";
    } catch {
      throw new PatternError("must be a regular expression");
    }
  }
}

const QUANTIFIER = /[*+?]|\{(\d+)(,?)(\d*)\}/y;
const ESCAPE =
  /\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|c[A-Za-z]|[pP]\{[^}]*\}|[\s\S])/uy;

/** Reads an expression that the engine has found valid. */
export class PatternReader {
  private at = 0;
  private depth = 0;
  private readonly source: string;
  private readonly flags: Flags;

  constructor(source: string, flags: Flags) {
    this.source = source;
    this.flags = flags;
  }

  read(): Sized {
    return this.readChoice();
  }

  private readChoice(): Sized {
    this.depth += 1;
    if (this.depth > MOST_DEPTH) throw new PatternError("has groups that are nested too deep");
    const ways = [this.readSequence()];
    while (this.peek() === "|") {
      this.at += 1;
      ways.push(this.readSequence());
    }
    this.depth -= 1;
    return ways.reduceRight((rest, way) => either(way, rest));
  }

  private readSequence(): Sized {
    const parts: Sized[] = [];
    while (this.at < this.source.length && this.peek() !== "|" && this.peek() !== ")") {
      parts.push(this.readRepeated());
    }
    return sequence(parts);
  }

  private readRepeated(): Sized {
    const part = this.readOne();
    QUANTIFIER.lastIndex = this.at;
    const found = QUANTIFIER.exec(this.source);
    if (found === null) return part;
    this.at = QUANTIFIER.lastIndex;
    // Lazy or greedy: the same texts match.
    if (this.peek() === "?") this.at += 1;
    const [sign, least, comma, most] = found;
    if (sign === "*") return repeated(part, 0, null);
    if (sign === "+") return repeated(part, 1, null);
    if (sign === "?") return repeated(part, 0, 1);
    const from = Number(least);
    if (comma === "") return repeated(part, from, from);
    return repeated(part, from, most === "" ? null : Number(most));
  }

  private readOne(): Sized {
    const first = String.fromCodePoint(this.source.codePointAt(this.at) ?? 0);
    if (first === "(") return this.readGroup();
    if (first === "\\") return this.readEscape();
    if (first === "[") return this.readClass();
    this.at += first.length;
    if (first === "^") return edgeAt("start");
    if (first === "$") return edgeAt("end");
    if (first === ".") return character((other) => !/^[\n\r\u2028\u2029]$/.test(other));
    return character((other) => other === first);
  }

  private readGroup(): Sized {
    this.at += 1;
    if (this.peek() === "?") {
      const opening = /\?(?::|<(?![=!])[^>]*>)/y;
      opening.lastIndex = this.at;
      if (!opening.test(this.source)) {
        throw new PatternError(
          "has a group that looks ahead or back, which is only checked at the very beginning, as in `^(?!…)`: write it without",
        );
      }
      this.at = opening.lastIndex;
    }
    const inner = this.readChoice();
    this.at += 1;
    return inner;
  }

  private readEscape(): Sized {
    ESCAPE.lastIndex = this.at;
    const [text = ""] = ESCAPE.exec(this.source) ?? [];
    this.at += text.length;
    if (text === "\\b") return edgeAt("word");
    if (text === "\\B") return edgeAt("inside");
    if (/^\\[1-9k]$/.test(text)) {
      throw new PatternError(
        `refers to a group with \`${text}\`, which is not checked, because it may take hours: write it without`,
      );
    }
    return character(this.testOf(text));
  }

  private readClass(): Sized {
    const start = this.at;
    for (this.at += 1; this.peek() !== "]"; this.at += 1) if (this.peek() === "\\") this.at += 1;
    this.at += 1;
    return character(this.testOf(this.source.slice(start, this.at)));
  }

  /** What stands for one character can't take long, so the engine's own looks at it. */
  private testOf(text: string): Test {
    const expression = new RegExp(`^(?:${text})$`, this.flags);
    const known: (boolean | undefined)[] = [];
    return (character) => {
      const code = character.charCodeAt(0);
      if (code >= KNOWN) return expression.test(character);
      known[code] ??= expression.test(character);
      return known[code];
    };
  }

  private peek(): string {
    return this.source.charAt(this.at);
  }
}

const KNOWN = 128;
const MOST_DEPTH = 100;
