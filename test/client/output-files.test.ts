import { describe, expect, test } from "vitest";
import { Edge } from "../../src/client/edge.ts";
import { cursorAt, type JobEvent, jobFrame, readJobFrame } from "../../src/client/job-channel.ts";
import { type JobView, NO_JOB, viewEvent } from "../../src/client/job-view.ts";
import { withAddresses } from "../../src/client/output-files.ts";
import type { Frame } from "../support/fake-subscriber-edge.ts";
import { completed, connection, output, progress } from "./jobs.ts";

function fileOf(name: string, sha256 = name) {
  const url = `/api/files/${name}?signature=x`;
  return { name, content_type: "image/png", size: 3, sha256, url };
}

function told(offset: number, name: string, preview = false, attempt = 1): Frame {
  const { delta: _, ...frame } = output(offset, "", attempt);
  return { ...frame, type: "output", file: fileOf(name), ...(preview ? { preview } : {}) };
}

/** What a follower is told of these frames. */
function follow(frames: readonly Frame[], since: string | null = null): JobEvent[] {
  let cursor = cursorAt(since);
  return frames.flatMap((frame) => {
    const read = readJobFrame(cursor, jobFrame.parse(frame));
    cursor = read.cursor;
    return read.events;
  });
}

function viewOf(events: readonly JobEvent[]): JobView {
  return events.reduce(viewEvent, NO_JOB);
}

describe("a file that a job's events tell of", () => {
  test("is an event of its own, among the pieces of output (S22)", () => {
    const events = follow(
      [
        connection(0, true),
        output(1, "before"),
        told(2, "a.png"),
        told(3, "b.png", true),
        output(4, "after"),
      ],
      "e:0",
    );
    expect(events.map(({ type }) => type)).toEqual(["output", "file", "file", "output"]);
    expect(events[1]).toMatchObject({ file: fileOf("a.png"), preview: false, position: "e:2" });
    expect(events[2]).toMatchObject({ file: fileOf("b.png"), preview: true });
    expect(events[1]).not.toHaveProperty("delta");
  });

  test("is in a snapshot, and shown once; a preview until the next one or the end (S22a, S22b)", () => {
    const running = follow([connection(4), told(2, "a.png"), told(3, "p.png", true), progress(4)]);
    expect(viewOf(running)).toMatchObject({
      outputs: [{ name: "a.png" }],
      preview: { name: "p.png" },
    });
    const later = follow([connection(4, true), told(5, "q.png", true), told(6, "a.png")], "e:4");
    const next = later.reduce(viewEvent, viewOf(running));
    expect(next).toMatchObject({ outputs: [{ name: "a.png" }], preview: { name: "q.png" } });
    const outputs = [fileOf("b.png"), fileOf("a.png")];
    const [end] = follow([connection(6, true), { ...completed(7, null), outputs }], "e:6");
    expect(end && viewEvent(next, end)).toMatchObject({ outputs, preview: null });
  });

  test("of an earlier attempt is void (S5)", () => {
    const frames = [connection(0, true), told(1, "a.png"), told(2, "b.png", false, 2)];
    const events = follow(frames, "e:0");
    expect(events.map(({ type }) => type)).toEqual(["file", "restart", "file"]);
    expect(viewOf(events).outputs).toMatchObject([{ name: "b.png" }]);
  });

  test("has its whole address, under an edge with a path too (H28a)", () => {
    const edge = new Edge({ url: "https://edge.example/dialout", token: "x" });
    const { file } = withAddresses({ file: fileOf("a.png") }, edge);
    expect(file.url).toBe("https://edge.example/dialout/api/files/a.png?signature=x");
    const elsewhere = { ...fileOf("a.png"), url: "https://dialout.example/a.png" };
    expect(withAddresses({ outputs: [elsewhere] }, edge).outputs).toEqual([elsewhere]);
    const plain = { type: "restart" };
    expect(withAddresses(plain, edge)).toBe(plain);
  });
});
