import fc from "fast-check";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { SLOW_BYTES } from "../../src/channel/flow.ts";
import { EventStreamWriter, type StreamedFrame } from "../../src/http/event-stream-writer.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

interface ReadEvent {
  id?: string;
  event?: string;
  data: { type: string; offset?: number; skipped?: number; status?: string };
}

let openStreams: EventStreamWriter[] = [];

afterEach(() => {
  for (const stream of openStreams) stream.end();
  openStreams = [];
});

/** Opens a stream of a job's events and sends its `connection`; nobody reads it yet. */
function openStream(): EventStreamWriter {
  const stream = new EventStreamWriter(true);
  openStreams.push(stream);
  send(stream, { type: "connection", epoch: "e", offset: 0, recovered: true });
  return stream;
}

function send(to: EventStreamWriter, frame: StreamedFrame, bytes = 0): void {
  to.send(frame, JSON.stringify({ ...frame, ...(bytes > 0 ? { text: "x".repeat(bytes) } : {}) }));
}

function progress(offset: number, status = "processing"): StreamedFrame {
  return { type: "progress", status, offset };
}

/** Reads the stream to its end and returns its events, without the comments. */
async function readAll({ readable }: EventStreamWriter): Promise<ReadEvent[]> {
  const text = await new Response(readable).text();
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("event:") || event.startsWith("id:"))
    .map((event) => {
      const fields = event.split("\n").map((line) => line.split(/: (.*)/s));
      const { id, event: name, data = "null" } = Object.fromEntries(fields);
      return { ...(id ? { id } : {}), event: name, data: JSON.parse(data) };
    });
}

function positionsOf(events: ReadEvent[]): unknown[] {
  return events.slice(1).map(({ id, data }) => [id, data.offset, data.skipped ?? 0]);
}

describe("a reader of a stream of events", () => {
  it("who keeps up gets every progress", async () => {
    const events = openStream();
    const read = readAll(events);
    for (let offset = 1; offset <= 200; offset += 1) send(events, progress(offset), 100);
    events.end();
    expect(positionsOf(await read)).toHaveLength(200);
  });

  it("who reads nothing for a while gets the newest progress, with its own id and `skipped` (C12c)", async () => {
    const events = openStream();
    send(events, { type: "output", offset: 1 }, SLOW_BYTES);
    for (let offset = 2; offset <= 200; offset += 1) send(events, progress(offset), 1_000);
    events.end();
    expect(positionsOf(await readAll(events))).toEqual([
      ["e:1", 1, 0],
      ["e:200", 200, 198],
    ]);
  });

  it("who has caught up gets the held-back progress at once (C12c)", async () => {
    const events = openStream();
    send(events, { type: "output", offset: 1 }, SLOW_BYTES);
    for (let offset = 2; offset <= 9; offset += 1) send(events, progress(offset));
    const reader = events.readable.getReader();
    let text = "";
    while (!text.includes('"offset":9')) {
      text += new TextDecoder().decode((await reader.read()).value);
    }
    expect(text).toContain('id: e:9\nevent: progress\ndata: {"type":"progress"');
    expect(text).toContain('"skipped":7}');
  });

  it("who reads nothing for a while gets all output and the end, in order (C12c)", async () => {
    const events = openStream();
    send(events, { type: "output", offset: 1 }, SLOW_BYTES);
    for (let offset = 2; offset <= 10; offset += 1) {
      send(events, offset % 5 === 0 ? { type: "output", offset } : progress(offset));
    }
    send(events, progress(11));
    send(events, progress(12, "completed"));
    events.end();
    expect(positionsOf(await readAll(events))).toEqual([
      ["e:1", 1, 0],
      ["e:4", 4, 2],
      ["e:5", 5, 0],
      ["e:9", 9, 3],
      ["e:10", 10, 0],
      ["e:12", 12, 1],
    ]);
  });

  it("whose snapshot ends with a progress that is held back gets no id before that one (C12a, C12c)", async () => {
    const events = new EventStreamWriter(true);
    send(events, { type: "connection", epoch: "e", offset: 2, recovered: false });
    send(events, { type: "output", offset: 1 }, SLOW_BYTES);
    send(events, progress(2));
    send(events, progress(3));
    send(events, { type: "output", offset: 4 });
    events.end();
    expect(positionsOf(await readAll(events))).toEqual([
      [undefined, 1, 0],
      ["e:3", 3, 1],
      ["e:4", 4, 0],
    ]);
  });

  it("gets an id with `connection` on a stream without a snapshot, and none on a job's (R17a, C12a)", async () => {
    const events = new EventStreamWriter(false);
    send(events, { type: "connection", epoch: "e", offset: 7, recovered: false });
    events.end();
    expect(await readAll(events)).toMatchObject([{ id: "e:7", event: "connection" }]);
    const job = new EventStreamWriter(true);
    send(job, { type: "connection", epoch: "e", offset: 7, recovered: false });
    job.end();
    expect((await readAll(job))[0]).not.toHaveProperty("id");
  });

  it("who leaves 8 MiB of output unread is cut off (C12d)", async () => {
    const events = openStream();
    const onGone = vi.fn();
    events.onReaderLeft(onGone);
    const pieces = Math.ceil(LIMITS.unreadBytes / 1_000_000);
    for (let offset = 1; offset <= pieces; offset += 1) {
      expect(onGone).not.toHaveBeenCalled();
      send(events, { type: "output", offset }, 1_000_000);
    }
    expect(onGone).toHaveBeenCalled();
    await expect(readAll(events)).rejects.toThrow();
  });

  it("who gets only progress is never cut off, however much there is (C12c)", async () => {
    const events = openStream();
    const onGone = vi.fn();
    events.onReaderLeft(onGone);
    for (let offset = 1; offset <= 20_000; offset += 1) send(events, progress(offset), 1_000);
    send(events, progress(20_001, "failed"));
    events.end();
    const received = await readAll(events);
    expect(onGone).not.toHaveBeenCalled();
    expect(received.at(-1)).toMatchObject({ id: "e:20001", data: { status: "failed" } });
  });

  it("is told by the last event why the stream ends, unless the channel has just said so (C12f)", async () => {
    const last = '{"type":"error","code":"space_not_found"}';
    const events = openStream();
    send(events, progress(1));
    events.end(last);
    expect((await readAll(events)).slice(1)).toEqual([
      { id: "e:1", event: "progress", data: progress(1) },
      { event: "error", data: JSON.parse(last) },
    ]);
    for (const type of ["error", "connection.error"]) {
      const told = openStream();
      send(told, { type });
      told.end(last);
      expect((await readAll(told)).slice(1)).toEqual([{ event: type, data: { type } }]);
    }
  });

  it("gets every event on one line, whatever characters its texts have (C12e)", async () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "\\", "\r", "\n", "\u0085", "\u2028", "\u2029"),
    });
    const check = fc.asyncProperty(text, async (value) => {
      const events = new EventStreamWriter(false);
      events.send({ type: "step.done" }, JSON.stringify({ type: "step.done", data: value }));
      events.end();
      const [line = "", ...rest] = (await new Response(events.readable).text())
        .split(/\r\n|[\r\n\u0085\u2028\u2029]/)
        .slice(1);
      expect(rest).toEqual(["", ""]);
      expect(JSON.parse(line.slice("data: ".length))).toEqual({ type: "step.done", data: value });
    });
    await fc.assert(check);
  });

  it("gets a comment every 15 seconds, and every 5 if it matters that it leaves (C12b, H12a)", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    for (const [isWatched, comments] of [
      [false, 2],
      [true, 6],
    ] as const) {
      const events = new EventStreamWriter(true, isWatched);
      vi.advanceTimersByTime(30_000);
      events.end();
      const text = await new Response(events.readable).text();
      expect(text.split("\n\n")).toHaveLength(comments + 1);
    }
  });

  it("is reported as gone as soon as it leaves, also to who asks only then (H12a)", async () => {
    const events = openStream();
    const gone = new Promise<void>((resolve) => {
      events.onReaderLeft(resolve);
    });
    await events.readable.cancel();
    await gone;
    const onGone = vi.fn();
    events.onReaderLeft(onGone);
    expect(onGone).toHaveBeenCalledTimes(1);
  });
});
