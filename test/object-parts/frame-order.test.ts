import { describe, expect, it, vi } from "vitest";
import { FrameOrder, type FrameScope } from "../../src/objects/frame-order.ts";

const EVERYTHING: FrameScope = { on: "everything" };
const NOTHING: FrameScope = { on: "nothing" };
const alone = (room: string): FrameScope => ({ on: "room", room, together: false });
const together = (room: string): FrameScope => ({ on: "room", room, together: true });

/** Frames whose effects a test ends one by one. */
function makeFrames() {
  const order = new FrameOrder<object>();
  const client = {};
  const begun: string[] = [];
  const answered: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const settle = async () => {
    for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
  };
  const send = (name: string, scope: FrameScope, who: object = client) =>
    order.run(who, scope, name.length, async (earlier) => {
      begun.push(name);
      await new Promise<void>((resolve, reject) => {
        ends.set(name, (error) => (error ? reject(error) : resolve()));
      });
      await earlier;
      answered.push(name);
    });
  const end = async (name: string, error?: Error) => {
    ends.get(name)?.(error);
    await settle();
  };
  return { order, client, begun, answered, send, end, settle };
}

describe("the frames of one client", () => {
  it("begin at once if nothing before them is waited for", () => {
    const { send, begun } = makeFrames();
    void send("a", alone("x"));
    void send("b", alone("y"));
    void send("c", NOTHING);
    expect(begun).toEqual(["a", "b", "c"]);
  });

  it("about one room have their effects one after the other (R4d)", async () => {
    const { send, end, begun } = makeFrames();
    void send("a", alone("x"));
    void send("b", alone("x"));
    void send("c", alone("x"));
    void send("other", alone("y"));
    expect(begun).toEqual(["a", "other"]);
    await end("a");
    expect(begun).toEqual(["a", "other", "b"]);
    await end("b");
    expect(begun).toEqual(["a", "other", "b", "c"]);
  });

  it("of one kind about a room run together, but after the one that must be alone, and before the next such", async () => {
    const { send, end, begun } = makeFrames();
    void send("first", alone("x"));
    void send("p1", together("x"));
    void send("p2", together("x"));
    void send("last", alone("x"));
    expect(begun).toEqual(["first"]);
    await end("first");
    expect(begun).toEqual(["first", "p1", "p2"]);
    await end("p2");
    expect(begun).not.toContain("last");
    await end("p1");
    expect(begun).toContain("last");
  });

  it("about everything wait for all answers before them, and all rooms wait for their effect (R4d)", async () => {
    const { send, end, begun } = makeFrames();
    void send("x", alone("x"));
    void send("y", alone("y"));
    void send("all", EVERYTHING);
    void send("later", alone("z"));
    void send("again", together("x"));
    void send("ping", NOTHING);
    expect(begun).toEqual(["x", "y", "ping"]);
    await end("x");
    expect(begun).not.toContain("all");
    await end("y");
    expect(begun).toContain("all");
    expect(begun).not.toContain("later");
    await end("all");
    expect(begun).toEqual(["x", "y", "ping", "all", "later", "again"]);
  });

  it("about a room wait for both: what concerns everything and what concerns the room", async () => {
    const { send, end, begun } = makeFrames();
    void send("start", alone("y"));
    void send("all", EVERYTHING);
    void send("a", alone("x"));
    void send("b", alone("x"));
    await end("start");
    await end("all");
    expect(begun).toEqual(["start", "all", "a"]);
    await end("a");
    expect(begun).toEqual(["start", "all", "a", "b"]);
  });

  it("are answered in their order, whatever has its effect first (R4d)", async () => {
    const { send, end, answered } = makeFrames();
    void send("a", alone("x"));
    void send("b", alone("y"));
    void send("c", NOTHING);
    await end("c");
    await end("b");
    expect(answered).toEqual([]);
    await end("a");
    expect(answered).toEqual(["a", "b", "c"]);
  });

  it("that fail hold nobody up, and are logged", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { send, end, begun, answered, order, client } = makeFrames();
    const failed = send("a", alone("x"));
    void send("b", alone("x"));
    await end("a", new Error("no"));
    await expect(failed).resolves.toBe(undefined);
    expect(begun).toEqual(["a", "b"]);
    await end("b");
    expect(answered).toEqual(["b"]);
    expect(order.unansweredLength(client)).toBe(0);
    expect(errors).toHaveBeenCalledOnce();
    errors.mockRestore();
  });

  it("count by their length until they are answered, and each client's alone (R14c)", async () => {
    const { send, end, order, client } = makeFrames();
    const other = {};
    expect(order.unansweredLength(client)).toBe(0);
    void send("four", alone("x"));
    void send("seventh", alone("x"));
    void send("eleven char", NOTHING, other);
    expect(order.unansweredLength(client)).toBe(11);
    expect(order.unansweredLength(other)).toBe(11);
    await end("four");
    expect(order.unansweredLength(client)).toBe(7);
    await end("seventh");
    expect(order.unansweredLength(client)).toBe(0);
    expect(order.unansweredLength(other)).toBe(11);
  });

  it("of another client don't wait for them", () => {
    const { send, begun } = makeFrames();
    void send("a", EVERYTHING);
    void send("b", alone("x"));
    void send("c", alone("x"), {});
    expect(begun).toEqual(["a", "c"]);
  });
});
