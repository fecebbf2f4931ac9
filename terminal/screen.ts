import pc from "picocolors";
import { barLine, plainLine, type Standing } from "./progress-words.ts";
import { oneLine, TerminalCleaner } from "./terminal-text.ts";

/** What is needed of a stream such as standard output. */
export interface Output {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** How often the line that shows how a job stands is drawn anew, milliseconds: the time that is left runs. */
const REDRAW_MS = 1_000;
/** The width of a terminal that doesn't know its own, columns. */
const WIDTH = 80;
const CLEAR_LINE = "\r\u001b[K";

/**
 * Output goes to standard output, everything about it to standard error: on a terminal one line that is redrawn,
 * elsewhere a line for each change. Both streams may be the same terminal, so the line is taken away before anything
 * else is written, and stays away while the output stands in the middle of a line.
 */
export class Screen {
  readonly #stdout: Output;
  readonly #stderr: Output;
  readonly #cleaner = new TerminalCleaner();
  readonly #colors: ReturnType<typeof pc.createColors>;
  readonly #isQuiet: boolean;
  #standing: Standing | null = null;
  #isDrawn = false;
  #isInLine = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** What is to be written after a question was answered; `null`: nothing is asked. */
  #waiting: (() => void)[] | null = null;

  constructor({ stdout, stderr, isColored, isQuiet }: ScreenOptions) {
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#isQuiet = isQuiet;
    this.#colors = pc.createColors(isColored && stderr.isTTY === true);
  }

  /** Whether the last thing on standard output was the middle of a line. */
  get isInLine(): boolean {
    return this.#isInLine;
  }

  /** Text of a job. A stranger wrote it: for a terminal, whatever the terminal would obey is taken out. */
  text(piece: string): void {
    this.#orWait(() => {
      this.#erase();
      const shown = this.#stdout.isTTY ? this.#cleaner.clean(piece) : piece;
      if (shown === "") return;
      this.#stdout.write(shown);
      this.#isInLine = !shown.endsWith("\n");
      this.#draw();
    });
  }

  /** One line of this program's own on standard output. */
  line(text: string): void {
    this.#orWait(() => {
      this.#erase();
      this.#stdout.write(`${text}\n`);
      this.#isInLine = false;
      this.#draw();
    });
  }

  /** Ends the line in which the output stands, on a terminal: what follows is to begin a new one. */
  endLine(): void {
    this.#orWait(() => {
      if (this.#isInLine && this.#stdout.isTTY) this.#stdout.write("\n");
      this.#isInLine = false;
    });
  }

  /** Something worth knowing, on standard error. */
  note(text: string): void {
    if (!this.#isQuiet) this.#writeLine(this.#colors.gray(oneLine(text)));
  }

  /** What went wrong, and what to do about it, on standard error. */
  error(message: string, help: readonly string[] = []): void {
    this.#writeWithHelp(this.#colors.red("error:"), message, help);
  }

  warning(message: string, help: readonly string[] = []): void {
    this.#writeWithHelp(this.#colors.yellow("warning:"), message, help);
  }

  #writeWithHelp(label: string, message: string, help: readonly string[]): void {
    this.#writeLine(`${label} ${oneLine(message)}`);
    for (const line of help) this.#writeLine(`  ${this.#colors.cyan("help:")} ${oneLine(line)}`);
  }

  /** Shows how a job stands; `null`: nothing is shown any more. */
  show(standing: Standing | null): void {
    const last = this.#standing;
    this.#standing = standing;
    if (this.#isQuiet) return;
    if (this.#stderr.isTTY) {
      this.#orWait(() => this.#draw());
      this.#keepDrawing(standing !== null);
      return;
    }
    const line = standing === null ? null : plainLine(standing, last);
    if (line !== null) this.#writeLine(line);
  }

  /** Holds everything back while something is asked on the terminal. */
  pause(): void {
    this.#erase();
    if (this.#isInLine) this.#stderr.write("\n");
    this.#waiting ??= [];
  }

  resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const write of waiting) write();
    this.#draw();
  }

  #writeLine(line: string): void {
    this.#orWait(() => {
      this.#erase();
      const isTorn = this.#isInLine && this.#stdout.isTTY && this.#stderr.isTTY;
      this.#stderr.write(`${isTorn ? "\n" : ""}${line}\n`);
      if (isTorn) this.#isInLine = false;
      this.#draw();
    });
  }

  #orWait(write: () => void): void {
    if (this.#waiting === null) write();
    else this.#waiting.push(write);
  }

  #keepDrawing(wanted: boolean): void {
    if (!wanted) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#orSkip(() => this.#draw()), REDRAW_MS);
      this.#timer.unref();
    }
  }

  #orSkip(draw: () => void): void {
    if (this.#waiting === null) draw();
  }

  #draw(): void {
    const standing = this.#standing;
    const isShared = this.#isInLine && this.#stdout.isTTY;
    if (standing === null || !this.#stderr.isTTY || isShared || this.#isQuiet) {
      this.#erase();
      return;
    }
    const line = barLine(standing, Date.now(), this.#stderr.columns || WIDTH);
    this.#stderr.write(`${CLEAR_LINE}${line}`);
    this.#isDrawn = true;
  }

  #erase(): void {
    if (!this.#isDrawn) return;
    this.#stderr.write(CLEAR_LINE);
    this.#isDrawn = false;
  }
}

export interface ScreenOptions {
  stdout: Output;
  stderr: Output;
  isColored: boolean;
  /** Whether only results and errors are printed. */
  isQuiet: boolean;
}
