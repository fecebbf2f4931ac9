import { describe, expect, it } from "vitest";
import type { JobEvent, JobProgress } from "../../src/client/index.ts";
import { JobPrinter, type Printing } from "../../terminal/job-printer.ts";
import { Screen } from "../../terminal/screen.ts";

const AT = "2026-11-01T00:00:00.000Z";
const JOB = { job_id: "demo.01JZZZZZZZZZZZZZZZZZZZZZZZ", attempt: 1, offset: 1, timestamp: AT };

const output = (
  delta: JobEvent extends infer E ? (E extends { delta: infer D } ? D : never) : never,
): JobEvent => {
  return { type: "output", ...JOB, delta, position: "e:1" };
};
const progress = (fields: Partial<JobProgress>): JobEvent => ({
  type: "progress",
  ...JOB,
  status: "processing",
  progress: 10,
  estimated_remaining: null,
  message: null,
  output_path: null,
  queue_position: null,
  position: "e:2",
  ...fields,
});
const END = progress({ status: "completed", progress: 100, result: { words: 2 } });

function print(printing: Printing, events: JobEvent[], tty = false) {
  const shown = { output: "", errors: "" };
  const stream = (name: "output" | "errors") => ({
    isTTY: tty,
    write: (text: string) => {
      shown[name] += text;
    },
  });
  const [stdout, stderr] = [stream("output"), stream("errors")];
  const screen = new Screen({ stdout, stderr, isColored: false, isQuiet: false });
  const printer = new JobPrinter(screen, printing);
  for (const event of events) printer.onEvent(event);
  screen.show(null);
  return { ...shown, position: printer.position };
}

describe("a job is printed", () => {
  it("as its output, and the position to go on after is known", () => {
    const { output: printed, position } = print("stream", [
      progress({}),
      output("a "),
      output("cat"),
      END,
    ]);
    expect(printed).toBe("a cat");
    expect(position).toBe("e:2");
  });

  it("as its result if it had no output: text as it is, anything else as JSON", () => {
    expect(print("stream", [progress({}), END]).output).toBe('{"words":2}\n');
    expect(print("stream", [progress({ status: "completed", result: "a cat" })]).output).toBe(
      "a cat",
    );
    expect(print("stream", [progress({ status: "completed", result: "a cat" })], true).output).toBe(
      "a cat\n",
    );
  });

  it("as its result alone", () => {
    expect(print("result", [output("a cat"), END]).output).toBe('{"words":2}\n');
  });

  it("as events, one a line", () => {
    const events = [progress({}), output("a\ncat"), END];
    const lines = print("events", events).output.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(events);
  });

  it("with pieces that are no text as lines of JSON", () => {
    expect(print("stream", [output("a"), output([1]), output("b"), END]).output).toBe("a\n[1]\nb");
  });

  it("with every digit of its numbers", () => {
    const exact = JSON.rawJSON("18446744073709551615") as unknown as number;
    expect(print("stream", [output({ seed: exact })]).output).toBe(
      '{"seed":18446744073709551615}\n',
    );
  });

  it("and says if what was printed is void", () => {
    const restart: JobEvent = { type: "restart", job_id: JOB.job_id, attempt: 2 };
    const { output: printed, errors } = print("stream", [
      output("one\n"),
      restart,
      output("two\n"),
      END,
    ]);
    expect(printed).toBe("one\ntwo\n");
    expect(errors).toContain("attempt 2 begins: the output up to here is void");
    expect(print("result", [restart, END]).errors).toBe("attempt 2 begins\n");
  });
});
