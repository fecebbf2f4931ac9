import { join } from "node:path";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { operatorKey } from "../../scripts/local.ts";
import { DialoutClient } from "../../src/client/index.ts";
import { Program } from "../support/program.ts";
import { OPCODE, RawSocket } from "../support/raw-socket.ts";
import { EdgeClient } from "./client.ts";

const edge = new EdgeClient(inject("edgeUrl"));
const MB = 1_048_576;
/** Far below the 10 seconds after which an idle object lets go of a connection by itself. */
const SOON_MS = 5_000;

let space: { name: string; token: string };

beforeAll(async () => {
  space = await edge.makeSpace({ offline: "queue" });
});

function socketUrl(path: string): string {
  return edge.url.replace("http", "ws") + path;
}

async function openRaw(path: string): Promise<RawSocket> {
  const socket = await RawSocket.open(edge.url + path);
  onTestFinished(() => socket.drop());
  return socket;
}

/** Resolves with how long `ended` took, in milliseconds. */
async function timeOf(ended: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await ended;
  return performance.now() - start;
}

async function cancelJob(id: string): Promise<void> {
  expect((await edge.call("POST", `/api/jobs/${id}/cancel`)).status).toBe(200);
}

describe("the connection of a socket that the edge closes", () => {
  it("ends at once if the client has ever sent a text: `ws` (C16a)", async () => {
    const { id } = await edge.submit(space.name, {});
    const socket = new WebSocket(socketUrl(`/ws/${id}`));
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send("ping");
    await new Promise((resolve) => {
      socket.on("message", (data) => String(data) === "pong" && resolve(null));
    });
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    await cancelJob(id);
    expect(await timeOf(closed)).toBeLessThan(SOON_MS);
    expect(await closed).toBe(1000);
  });

  it("ends at once if the client has ever sent a text: Python's websockets (C16a)", async () => {
    const { id } = await edge.submit(space.name, {});
    const script = join(import.meta.dirname, "listen.py");
    const python = new Program(script, [socketUrl(`/ws/${id}`)], {}, "/usr/bin/python3");
    await python.prints('"queued"');
    await cancelJob(id);
    await python.prints('"canceled"');
    expect(await timeOf(python.prints("closed with 1000"))).toBeLessThan(SOON_MS);
    expect(await python.exited).toBe(0);
  });

  it.each([
    ["`ws`", WebSocket as unknown as typeof globalThis.WebSocket],
    ["the one of Node.js", globalThis.WebSocket],
  ])(
    "ends at once for Dialout's own client on %s, also if the job has ended before (C16a)",
    async (_, Socket) => {
      const { id } = await edge.submit(space.name, {});
      const client = new DialoutClient({ url: edge.url, WebSocket: Socket });
      onTestFinished(() => client.close());
      const statuses: string[] = [];
      const following = async () => {
        for await (const event of client.job(id).events()) {
          if (event.type === "progress") statuses.push(event.status);
          if (event.type === "progress" && event.status === "queued") await cancelJob(id);
        }
      };
      expect(await timeOf(following())).toBeLessThan(SOON_MS);
      expect(await timeOf(following())).toBeLessThan(SOON_MS);
      expect(statuses).toEqual(["queued", "canceled", "canceled"]);
    },
  );

  it("gets its close frame at once in any case, with the whole reason (C16)", async () => {
    const { id } = await edge.submit(space.name, {});
    const socket = await openRaw(`/ws/${id}`);
    await cancelJob(id);
    const { payload } = await socket.next(OPCODE.close);
    expect([payload.readUInt16BE(), payload.toString("utf8", 2)]).toEqual([
      1000,
      "The job has ended.",
    ]);
  });
});

describe("a client's close", () => {
  it.each([undefined, 1000, 1001, 1011, 1016, 2_999, 3_000, 4_999, 5_000])(
    "with the code %s is answered with that code, if it can be sent, and ends the connection (C15)",
    async (code) => {
      const socket = await openRaw(`/api/spaces/${space.name}/ws`);
      await socket.nextMessage("space.status");
      socket.close(code, code === undefined ? "" : "bye ✓");
      const { payload } = await socket.next(OPCODE.close);
      const isSendable = code !== undefined && code < 5_000;
      expect(payload.length === 0 ? undefined : payload.readUInt16BE()).toBe(
        isSendable ? code : undefined,
      );
      expect(await timeOf(socket.ended)).toBeLessThan(SOON_MS);
    },
  );
});

describe("a message", () => {
  it("may come in many pieces, with a ping frame between them (C2, C3)", async () => {
    const socket = await openRaw(`/api/spaces/${space.name}/ws`);
    await socket.nextMessage("space.status");
    const text = JSON.stringify({
      type: "submit",
      ref: "été",
      input: { text: "✓".repeat(90_000) },
    });
    const bytes = Buffer.from(text);
    // Cuts a character apart: pieces are bytes, not characters.
    const cuts = [0, bytes.indexOf(0xa9), 1_000, 100_001, bytes.length];
    for (const [at, start] of cuts.slice(0, -1).entries()) {
      const opcode = at === 0 ? OPCODE.text : OPCODE.continuation;
      socket.send(opcode, bytes.subarray(start, cuts[at + 1]), at === cuts.length - 2);
      if (at === 1) socket.send(OPCODE.ping, "still here");
    }
    expect((await socket.next(OPCODE.pong)).payload.toString()).toBe("still here");
    expect(await socket.nextMessage("accepted")).toMatchObject({ ref: "été" });
  });

  it("that is too large in pieces is refused as one (C3)", async () => {
    const socket = await openRaw(`/api/spaces/${space.name}/ws`);
    await socket.nextMessage("space.status");
    socket.send(OPCODE.text, "x".repeat(MB), false);
    socket.send(OPCODE.continuation, "x", true);
    expect(await socket.nextMessage("error")).toMatchObject({ code: "frame_too_large" });
    expect((await socket.next(OPCODE.close)).payload.readUInt16BE()).toBe(1009);
  });

  it("of bytes gets an error, as does each piece of bytes that follows (S6a)", async () => {
    const socket = await openRaw(`/api/spaces/${space.name}/ws`);
    await socket.nextMessage("space.status");
    socket.send(OPCODE.binary, Buffer.from([1, 2]), false);
    socket.send(OPCODE.continuation, Buffer.from([3]), true);
    expect(await socket.nextMessage("error")).toMatchObject({ code: "binary_frame" });
  });
});

describe("the subprotocol of a socket", () => {
  it.each([
    [["dialout.v1", "dialout.worker.v1"], "dialout.v1"],
    [["other", "dialout.v1"], "dialout.v1"],
    [["dialout.token.wrong-for-a-space", "dialout.v1"], null],
  ])("is the first offered one that the edge knows: %j (C5)", async (offered, chosen) => {
    const socket = new WebSocket(socketUrl(`/api/spaces/${space.name}/ws`), offered);
    const opened = await new Promise<string | null>((resolve) => {
      socket.once("open", () => resolve(socket.protocol)).once("error", () => resolve(null));
    });
    expect(opened).toBe(chosen);
    socket.terminate();
  });

  it("is none if the edge knows none of those offered (C5)", async () => {
    const socket = new WebSocket(socketUrl(`/api/spaces/${space.name}/ws`), ["other"]);
    const message = await new Promise((resolve) => {
      socket.once("error", (error) => resolve(error.message));
    });
    expect(message).toMatch(/no subprotocol/i);
  });
});

describe("the reason of a close", () => {
  it("is cut between two characters if it is too long (C15)", async () => {
    const kind = "é".repeat(200);
    const socket = await openRaw(
      `/api/rooms/global/ws?token=${operatorKey()}&filter={"${kind}":1}`,
    );
    const { message } = await socket.nextMessage("connection.error");
    const { payload } = await socket.next(OPCODE.close);
    const reason = new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(2));
    expect(payload.length).toBeLessThanOrEqual(125);
    expect(String(message).startsWith(reason.replace(/…$/, ""))).toBe(true);
  });
});
