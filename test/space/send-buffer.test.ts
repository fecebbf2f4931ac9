import { describe, expect, it, vi } from "vitest";
import type { Connection, Connections } from "../../src/space/connections.ts";
import { SendBuffer } from "../../src/space/send-buffer.ts";

/** A buffer whose sockets are names, and everything that was sent, in order. */
function makeBuffer() {
  const log: unknown[] = [];
  const connections = {
    send: (connection: string, frame: object) => log.push([connection, frame]),
    close: (connection: string, close: string, reason: string) =>
      log.push([connection, close, reason]),
  };
  const buffer = new SendBuffer(connections as unknown as Connections);
  const socket = (name: string) => name as unknown as Connection;
  return { buffer, log, socket };
}

const none = () => false;

describe("what a batch sends", () => {
  it("goes out when the batch is stored, in order, frames made at that moment", () => {
    const { buffer, log, socket } = makeBuffer();
    let state = "before";
    buffer.send(socket("a"), { n: 1 });
    buffer.send(socket("b"), () => ({ state }));
    buffer.after(() => log.push("callback"));
    buffer.error(socket("a"), "not_allowed", "no", { ref: 1 });
    buffer.close(socket("a"), "done", "bye");
    expect(log).toEqual([]);
    state = "after";
    buffer.flush(none);
    expect(log).toEqual([
      ["a", { n: 1 }],
      ["b", { state: "after" }],
      "callback",
      ["a", expect.objectContaining({ type: "error", code: "not_allowed", ref: 1 })],
      ["a", "done", "bye"],
    ]);
    buffer.flush(none);
    expect(log).toHaveLength(5);
  });

  it("waits while a job that it is about is not stored, and so does all behind it on that socket", () => {
    const { buffer, log, socket } = makeBuffer();
    buffer.send(socket("a"), { n: 1 }, ["job"]);
    buffer.send(socket("a"), { n: 2 });
    buffer.close(socket("a"), "done", "");
    buffer.send(socket("b"), { n: 3 });
    buffer.after(() => log.push("about"), ["other", "job"]);
    buffer.after(() => log.push("free"), ["other"]);
    buffer.flush((ulid) => ulid === "job");
    expect(log).toEqual([["b", { n: 3 }], "free"]);
    buffer.send(socket("a"), { n: 4 });
    buffer.flush((ulid) => ulid === "job");
    expect(log).toHaveLength(2);
    buffer.flush(none);
    expect(log.slice(2)).toEqual([
      ["a", { n: 1 }],
      ["a", { n: 2 }],
      ["a", "done", ""],
      "about",
      ["a", { n: 4 }],
    ]);
  });

  it("includes what an action adds, and goes on if an action fails", () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { buffer, log, socket } = makeBuffer();
    buffer.after(() => {
      buffer.send(socket("a"), { added: true });
      throw new Error("no");
    });
    buffer.send(socket("a"), { n: 1 });
    buffer.flush(none);
    expect(log).toEqual([
      ["a", { n: 1 }],
      ["a", { added: true }],
    ]);
    expect(errors).toHaveBeenCalledOnce();
    errors.mockRestore();
  });

  it("ahead of the write goes out first, but never before an earlier frame of its socket", () => {
    const { buffer, log, socket } = makeBuffer();
    buffer.send(socket("a"), { n: 1 });
    buffer.sendAhead(socket("a"), { job: 1 });
    buffer.sendAhead(socket("b"), { job: 2 });
    buffer.flushAhead();
    expect(log).toEqual([["b", { job: 2 }]]);
    buffer.flushAhead();
    buffer.flush(none);
    expect(log.slice(1)).toEqual([
      ["a", { n: 1 }],
      ["a", { job: 1 }],
    ]);
    buffer.sendAhead(socket("a"), { job: 3 });
    buffer.flushAhead();
    expect(log).toHaveLength(4);
  });
});
