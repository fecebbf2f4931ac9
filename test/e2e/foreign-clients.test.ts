import { join } from "node:path";
import { WebSocket as ReconnectingSocket } from "partysocket";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket as NodeSocket } from "ws";
import { operatorKey, secret } from "../../scripts/local.ts";
import { freePort } from "../support/port.ts";
import { Program } from "../support/program.ts";
import { PYTHON } from "../support/python-package.ts";
import { tokenOf } from "../support/tokens.ts";
import { runBareEdge } from "./bare-edge.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState } from "./edge.ts";

const ROOM = "project:42";
const SHOUT = `
  const { input } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  console.log(input.prompt.toUpperCase());`;

let state: string;
let edge: RunningEdge;
let token: string;

beforeAll(async () => {
  state = await makeState();
  edge = await runBareEdge(state, await freePort());
  token = await tokenOf(secret("JWT_SECRET"), "alice", { rooms: ["project:*"] });
});
afterAll(async () => {
  await edge.program.killAll();
  await removeState(state);
});

async function restart(): Promise<void> {
  await edge.program.killAll();
  edge = await runBareEdge(state, Number(new URL(edge.url).port));
}

async function publish(n: number, more: object = {}): Promise<void> {
  const response = await fetch(`${edge.url}/api/rooms/${ROOM}/events`, {
    method: "POST",
    headers: { authorization: `Bearer ${operatorKey()}`, "content-type": "application/json" },
    body: JSON.stringify({ id: `event-${n}`, type: "step.done", data: { n, ...more } }),
  });
  expect(response.status).toBe(201);
}

/** Returns the frames that `follow.py` printed for one of its sockets. */
function framesOf(program: Program, channel: string) {
  const lines = program.printed.split("\n").filter((line) => line.startsWith(`${channel} `));
  return lines.map((line) => JSON.parse(line.slice(channel.length + 1)));
}

describe("programs that were not written for Dialout", () => {
  it("follow a job and a room (Python's websockets)", async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ offline: "queue" });
    const { id } = await client.submit(space.name, { prompt: "hello" });
    const script = join(import.meta.dirname, "follow.py");
    const args = [edge.url.replace("http", "ws"), token, ROOM, id];
    const python = new Program(script, args, {}, PYTHON);
    await python.prints(/room .*"subscribed"/);
    await python.prints(/job .*"progress"/);
    await client.startWorker(space, ["exec", "--", "node", "-e", SHOUT]);
    for (const n of [1, 2, 3]) await publish(n, { last: n === 3 });
    expect(await python.exited).toBe(0);
    const job = framesOf(python, "job");
    expect(job.filter(({ type }) => type === "output")).toMatchObject([{ delta: "HELLO\n" }]);
    expect(job.at(-2)).toMatchObject({ type: "progress", status: "completed" });
    expect(job.at(-1)).toEqual({ type: "closed", code: 1000 });
    const events = framesOf(python, "room").filter(({ type }) => type === "step.done");
    expect(events.map(({ data }) => data.n)).toEqual([1, 2, 3]);
    expect(events.map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });

  it("continue at their position when the edge is killed and restarted: partysocket (C8, C9)", async () => {
    let since = "";
    const got: number[] = [];
    let wake: () => void = () => undefined;
    const url = () =>
      `${edge.url.replace("http", "ws")}/api/rooms/${ROOM}/ws?token=${token}&since=${since}`;
    const socket = new ReconnectingSocket(url, [], {
      WebSocket: NodeSocket,
      minReconnectionDelay: 50,
    });
    let epoch = "";
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(String(data));
      if (frame.type === "connection") epoch = frame.epoch;
      else got.push(frame.data.n);
      since = `${epoch}:${frame.offset}`;
      wake();
    });
    const until = async (holds: () => boolean) => {
      while (!holds()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    await until(() => epoch !== "");
    await publish(4);
    await until(() => got.includes(4));
    const before = epoch;
    await restart();
    for (const n of [5, 6]) await publish(n);
    await until(() => got.includes(6));
    expect(got).toEqual([4, 5, 6]);
    expect(epoch).toBe(before);
    socket.close();
  });

  it("stream a room and a job across a restart: curl (R17, C12)", async () => {
    const client = new EdgeClient(edge.url);
    const space = await client.makeSpace({ offline: "queue" });
    const { id } = await client.submit(space.name, { prompt: "hello" });
    const follow = (path: string, ...more: string[]) =>
      new Program("-sN", [...more, `${edge.url}${path}`], {}, "/usr/bin/curl");
    const bearer = ["-H", `authorization: Bearer ${token}`];
    const events = `/api/rooms/${ROOM}/events`;
    const first = follow(events, ...bearer);
    const job = follow(`/api/jobs/${id}/events`);
    await first.prints("event: connection");
    await publish(7);
    await first.prints('"n":7');
    await job.prints(/^id: /m);
    await restart();
    await Promise.all([first.exited, job.exited]);
    await publish(8);
    const second = follow(events, ...bearer, "-H", `last-event-id: ${lastId(first)}`);
    await publish(9);
    await second.prints('"n":9');
    const numbers = [...second.printed.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n));
    expect(numbers).toEqual([8, 9]);
    await second.stop();
    await client.startWorker(space, ["exec", "--", "node", "-e", SHOUT]);
    const rest = follow(`/api/jobs/${id}/events`, "-H", `last-event-id: ${lastId(job)}`);
    expect(await rest.exited).toBe(0);
    expect(rest.printed).toContain('"recovered":true');
    expect(rest.printed).toContain('"status":"completed"');
    const offsets = [...(job.printed + rest.printed).matchAll(/^id: \S+:(\d+)$/gm)];
    expect(offsets.map(([, offset]) => Number(offset))).toEqual(offsets.map((_, at) => at + 1));
  });
});

function lastId(program: Program): string {
  const id = [...program.printed.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1];
  if (id === undefined) throw new Error(`no id in ${program.printed}`);
  return id;
}
