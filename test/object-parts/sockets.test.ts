import { describe, expect, it } from "vitest";
import { z } from "zod";
import type { Env } from "../../src/env.ts";
import { closeQuietly } from "../../src/objects/close-quietly.ts";
import { sendFrames } from "../../src/objects/frame-target.ts";
import { afterMalformed } from "../../src/objects/malformed-frames.ts";
import { ObjectSockets } from "../../src/objects/object-sockets.ts";
import { answerPings } from "../../src/objects/pings.ts";
import { Reader, Readers } from "../../src/objects/readers.ts";
import { tagOf } from "../../src/objects/socket-tag.ts";
import { runInFakeRuntime, START } from "../support/runtime/globals.ts";
import { FakeSocket } from "../support/runtime/socket.ts";

runInFakeRuntime();

function webSocket(socket: FakeSocket): WebSocket {
  return socket as unknown as WebSocket;
}

describe("a close", () => {
  it("carries its code and reason, the reason cut to 123 bytes between two characters (C15)", () => {
    const long = new FakeSocket();
    closeQuietly(webSocket(long), 4400, "x".repeat(123));
    expect(long.closed).toEqual({ code: 4400, reason: "x".repeat(123) });
    const longer = new FakeSocket();
    closeQuietly(webSocket(longer), 4400, "x".repeat(124));
    expect(longer.closed?.reason).toBe(`${"x".repeat(120)}…`);
    for (const letter of ["ä", "€", "😀"]) {
      for (const shift of ["", "x", "xx", "xxx"]) {
        const socket = new FakeSocket();
        closeQuietly(webSocket(socket), 4400, shift + letter.repeat(90));
        const { reason = "" } = socket.closed ?? {};
        expect(new TextEncoder().encode(reason).length).toBeLessThanOrEqual(123);
        expect(new TextEncoder().encode(reason).length).toBeGreaterThan(118);
        expect(reason).not.toContain("\ufffd");
        expect(reason.endsWith("…")).toBe(true);
      }
    }
  });

  it("has no code if the client's can't be sent, and a second one does nothing", () => {
    const socket = new FakeSocket();
    closeQuietly(webSocket(socket), 1006, "gone");
    expect(socket.closed).toEqual({ code: undefined, reason: "" });
    expect(() => closeQuietly(webSocket(socket), 4400, "again")).not.toThrow();
    const broken = {
      close: () => {
        throw new Error("closed");
      },
    } as unknown as WebSocket;
    expect(() => closeQuietly(broken, 1000, "")).not.toThrow();
  });
});

function newReader(): Reader {
  return new Reader({
    kind: "stranger",
    readers: new Readers(),
    lastPingAt: () => null,
    onTooSlow: () => undefined,
  });
}

describe("frames that are sent together", () => {
  it("are one batch for who reads batches, single ones otherwise (C6, C6c)", () => {
    const texts = ['{"type":"a"}', '{"type":"b"}'];
    const batched = new FakeSocket();
    sendFrames({ reader: newReader(), socket: webSocket(batched), batch: true }, texts);
    expect(batched.messages).toEqual(['{"type":"batch","frames":[{"type":"a"},{"type":"b"}]}']);
    sendFrames({ reader: newReader(), socket: webSocket(batched), batch: true }, texts.slice(1));
    expect(batched.messages.at(-1)).toBe('{"type":"b"}');
    const plain = new FakeSocket();
    sendFrames({ reader: newReader(), socket: webSocket(plain), batch: false }, texts);
    expect(plain.messages).toEqual(texts);
    const other = new FakeSocket();
    sendFrames({ reader: newReader(), socket: webSocket(other), batch: true }, texts);
    expect(other.messages).toEqual([batched.messages[0]]);
  });

  it("are not sent to a closed socket, and nothing is thrown", () => {
    const socket = new FakeSocket();
    socket.close(1000);
    expect(() =>
      sendFrames({ reader: newReader(), socket: webSocket(socket), batch: false }, ["{}"]),
    ).not.toThrow();
    expect(socket.messages).toEqual([]);
  });
});

describe("a malformed frame", () => {
  const malformed = { ok: false, code: "malformed_frame", message: "wrong" } as const;

  it("closes the socket as the third in a row, a worker's as the first (S6a, W30)", () => {
    expect(afterMalformed(malformed, 0)).toEqual({ malformed: 1, close: null });
    expect(afterMalformed(malformed, 1)).toEqual({ malformed: 2, close: null });
    expect(afterMalformed(malformed, 2)).toEqual({
      malformed: 3,
      close: { as: "malformed", reason: "Too many malformed frames." },
    });
    expect(afterMalformed(malformed, 0, 1).close).toEqual({ as: "malformed", reason: "wrong" });
  });

  it("closes it at once if it is too large (C3)", () => {
    const large = { ...malformed, code: "frame_too_large" } as const;
    expect(afterMalformed(large, 0)).toEqual({
      malformed: 1,
      close: { as: "frameTooLarge", reason: "wrong" },
    });
  });
});

describe("the tag of a socket", () => {
  it("is the first it was accepted with; none if the runtime no longer knows it", () => {
    const socket = webSocket(new FakeSocket());
    const ctx = (getTags: () => string[]) => ({ getTags }) as unknown as DurableObjectState;
    expect(
      tagOf(
        ctx(() => ["a", "b"]),
        socket,
      ),
    ).toBe("a");
    expect(
      tagOf(
        ctx(() => []),
        socket,
      ),
    ).toBe(null);
    expect(
      tagOf(
        ctx(() => {
          throw new Error("gone");
        }),
        socket,
      ),
    ).toBe(null);
  });
});

describe("the sockets of an object", () => {
  const attachment = z.object({ id: z.string(), seen: z.number() });

  function context(kept: FakeSocket[] = []) {
    const tagged = (tag?: string) =>
      kept.filter(
        ({ tags, closed }) => closed === null && (tag === undefined || tags.includes(tag)),
      );
    return {
      acceptWebSocket: (socket: FakeSocket, tags: string[]) => {
        socket.tags = tags;
        kept.push(socket);
      },
      getWebSockets: tagged,
      setWebSocketAutoResponse: () => undefined,
      getWebSocketAutoResponseTimestamp: ({ pingedAt }: FakeSocket) => pingedAt,
    } as unknown as DurableObjectState;
  }

  it("are known again after a sleep, with what was remembered last", () => {
    const kept: FakeSocket[] = [];
    const sockets = new ObjectSockets(context(kept), attachment);
    const first = sockets.accept(webSocket(new FakeSocket()), { id: "a", seen: 0 });
    sockets.accept(webSocket(new FakeSocket()), { id: "b", seen: 0 });
    expect(kept.map(({ tags }) => tags)).toEqual([[], []]);
    sockets.change(first, { seen: 5 });
    first.attachment.seen = 9;
    const woken = new ObjectSockets(context(kept), attachment);
    expect(woken.size).toBe(2);
    expect(woken.all().map(({ attachment }) => attachment)).toEqual([
      { id: "a", seen: 5 },
      { id: "b", seen: 0 },
    ]);
  });

  it("that were closed here are unknown, also after a sleep, and keep nothing they are told", () => {
    const kept: FakeSocket[] = [];
    let changes = 0;
    const options = { onChange: () => (changes += 1) };
    const sockets = new ObjectSockets(context(kept), attachment, options);
    const fake = new FakeSocket();
    const socket = sockets.accept(webSocket(fake), { id: "a", seen: 0 });
    expect([changes, sockets.has(socket)]).toEqual([1, true]);
    sockets.close(socket, "done", "bye");
    expect(fake.closed).toEqual({ code: 1000, reason: "bye" });
    expect([changes, sockets.has(socket), sockets.of(socket.socket)]).toEqual([2, false, null]);
    sockets.change(socket, { seen: 3 });
    expect(sockets.remembered(socket.socket)).toBe(null);
    sockets.remove(socket);
    expect(changes).toBe(2);
    fake.closed = null;
    expect(new ObjectSockets(context(kept), attachment).size).toBe(0);
  });

  it.each([
    ["of a machine of its own, which counts them", "true", ["pong"], START],
    ["elsewhere: the runtime does that", undefined, [], null],
  ])("have their texts `ping` answered by an edge %s (C2)", (_, MAY_STAND_STILL, answers, at) => {
    const ctx = context();
    answerPings(ctx, { MAY_STAND_STILL } as Env);
    const sockets = new ObjectSockets(ctx, attachment);
    const fake = new FakeSocket();
    const socket = sockets.accept(webSocket(fake), { id: "a", seen: 0 });
    expect(sockets.lastPingAt(socket)).toBe(null);
    expect(sockets.onHeard(socket, "ping")).toBe(true);
    expect(fake.messages).toEqual(answers);
    expect(sockets.lastPingAt(socket)).toBe(at);
    expect(sockets.onHeard(socket, "pong")).toBe(true);
    expect(fake.messages).toEqual(answers);
  });

  it("are all closed together, the unknown ones too", () => {
    const kept: FakeSocket[] = [];
    const sockets = new ObjectSockets(context(kept), attachment);
    sockets.accept(webSocket(new FakeSocket()), { id: "a", seen: 0 });
    const unknown = new FakeSocket();
    unknown.serializeAttachment({ another: true });
    kept.push(unknown);
    sockets.closeAll("notFound", "deleted");
    expect(kept.map(({ closed }) => closed)).toEqual([
      { code: 4404, reason: "deleted" },
      { code: 4404, reason: "deleted" },
    ]);
    expect(sockets.size).toBe(0);
    expect(unknown.deserializeAttachment()).toBe(null);
  });

  it("with a tag are those that were accepted with it", () => {
    const kept: FakeSocket[] = [];
    const tagged = new ObjectSockets(context(kept), attachment, { tag: "x" });
    const others = new ObjectSockets(context(kept), attachment, { tag: "y" });
    tagged.accept(webSocket(new FakeSocket()), { id: "a", seen: 0 });
    others.accept(webSocket(new FakeSocket()), { id: "b", seen: 0 });
    expect(new ObjectSockets(context(kept), attachment, { tag: "x" }).all()).toMatchObject([
      { attachment: { id: "a" } },
    ]);
    tagged.closeAll("done", "");
    expect(kept.map(({ closed }) => closed !== null)).toEqual([true, false]);
  });

  it("say when the runtime last answered a `ping` (C2)", () => {
    const sockets = new ObjectSockets(context(), attachment);
    const fake = new FakeSocket();
    const socket = sockets.accept(webSocket(fake), { id: "a", seen: 0 });
    expect(sockets.lastPingAt(socket)).toBe(null);
    fake.push("ping");
    expect(sockets.lastPingAt(socket)).toBe(START);
  });
});
