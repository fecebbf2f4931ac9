import { describe, expect, it, onTestFinished, vi } from "vitest";
import { barLine, cut, duration, plainLine, type Standing } from "../../terminal/progress-words.ts";
import { Screen } from "../../terminal/screen.ts";

const NOW = 1_000_000;
const RUNNING: Standing = {
  status: "processing",
  progress: 50,
  message: "half way",
  queuePosition: null,
  endsAt: NOW + 12_000,
};
const QUEUED: Standing = {
  ...RUNNING,
  status: "queued",
  progress: 0,
  message: null,
  queuePosition: 3,
  endsAt: null,
};

/** A screen whose two streams are one text, as on a terminal; `errors` has that of standard error alone. */
function screenWith({ tty }: { tty: boolean }) {
  vi.useFakeTimers({ now: NOW });
  onTestFinished(() => void vi.useRealTimers());
  const shown = { both: "", errors: "", output: "" };
  const stream = (name: "errors" | "output") => ({
    isTTY: tty,
    columns: 80,
    write: (text: string) => {
      shown.both += text;
      shown[name] += text;
    },
  });
  const streams = { stdout: stream("output"), stderr: stream("errors") };
  return { shown, screen: new Screen({ ...streams, isColored: false, isQuiet: false }) };
}

describe("the line that shows how a job stands", () => {
  it("has a bar, the time that is left and the message", () => {
    expect(barLine(RUNNING, NOW, 80)).toBe(
      "[############------------] 50 %  about 12 s left  half way",
    );
    expect(barLine(RUNNING, NOW + 5_000, 80)).toContain("about 7 s left");
    expect(barLine(RUNNING, NOW + 60_000, 80)).not.toContain("left");
    expect(barLine(QUEUED, NOW, 80)).toBe("queued, number 3 in line");
  });

  it("fits the terminal, in which some characters are wide", () => {
    expect(barLine(RUNNING, NOW, 40)).toHaveLength(39);
    expect(cut("日本語", 5)).toBe("日本");
    expect(cut("e\u0301a", 2)).toBe("e\u0301a");
  });

  it("says long times in large units", () => {
    expect([59, 60, 3_599, 3_600, 90_000].map(duration)).toEqual([
      "59 s",
      "1 min 0 s",
      "59 min 59 s",
      "1 h 0 min",
      "25 h 0 min",
    ]);
  });

  it("is a line in a log only if enough has changed", () => {
    expect(plainLine(QUEUED, null)).toBe("queued, number 3 in line");
    expect(plainLine(QUEUED, QUEUED)).toBeNull();
    expect(plainLine({ ...QUEUED, queuePosition: 2 }, QUEUED)).toBe("queued, number 2 in line");
    expect(plainLine(RUNNING, QUEUED)).toBe("50 %  half way");
    expect(plainLine({ ...RUNNING, progress: 55 }, RUNNING)).toBeNull();
    expect(plainLine({ ...RUNNING, progress: 60 }, RUNNING)).toBe("60 %  half way");
    expect(plainLine({ ...RUNNING, message: "done" }, RUNNING)).toBe("50 %  done");
    expect(plainLine({ ...RUNNING, progress: 0, message: null }, QUEUED)).toBe("running");
  });
});

describe("a terminal", () => {
  it("has the line below whole lines of output, and not within one", () => {
    const { shown, screen } = screenWith({ tty: true });
    screen.show(RUNNING);
    expect(shown.errors).toContain("50 %");
    shown.both = "";
    screen.text("one");
    expect(shown.both).toBe("\r\u001b[Kone");
    screen.text(" two\n");
    expect(shown.both.startsWith("\r\u001b[Kone two\n\r\u001b[K[####")).toBe(true);
    screen.show(null);
    expect(shown.both.endsWith("\r\u001b[K")).toBe(true);
  });

  it("shows how the time that is left runs", () => {
    const { shown, screen } = screenWith({ tty: true });
    screen.show(RUNNING);
    vi.advanceTimersByTime(3_000);
    expect(shown.errors).toContain("about 9 s left");
    screen.show(null);
    shown.errors = "";
    vi.advanceTimersByTime(3_000);
    expect(shown.errors).toBe("");
  });

  it("gets no escape sequence of a job, and a file gets them as they came", () => {
    const terminal = screenWith({ tty: true });
    terminal.screen.text("\u001b]0;owned\u0007\u001b[31mred\n");
    expect(terminal.shown.output).toBe("red\n");
    const pipe = screenWith({ tty: false });
    pipe.screen.text("\u001b[31mred");
    expect(pipe.shown.output).toBe("\u001b[31mred");
  });

  it("shows nothing else while a question is asked, and all of it after", () => {
    const { shown, screen } = screenWith({ tty: true });
    screen.text("one\n");
    screen.pause();
    screen.text("two\n");
    screen.note("a note");
    screen.show(RUNNING);
    expect(shown.both).toBe("one\n");
    screen.resume();
    expect(shown.output).toBe("one\ntwo\n");
    expect(shown.errors).toContain("a note\n");
  });

  it("has messages on lines of their own", () => {
    const { shown, screen } = screenWith({ tty: true });
    screen.text("in the middle");
    screen.error("it broke", ["mend it"]);
    expect(shown.both).toBe("in the middle\nerror: it broke\n  help: mend it\n");
  });
});

describe("a pipe", () => {
  it("has nothing but the output on standard output", () => {
    const { shown, screen } = screenWith({ tty: false });
    screen.show(QUEUED);
    screen.show(RUNNING);
    screen.text("one");
    screen.note("a\u001b[31m note\nof two lines");
    screen.endLine();
    expect(shown.output).toBe("one");
    expect(shown.errors).toBe("queued, number 3 in line\n50 %  half way\na note of two lines\n");
  });
});
