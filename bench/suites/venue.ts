import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { bundles } from "../bundles.ts";
import type { Wire } from "../clients/wires.ts";
import { isInstalled, PYTHON, PYTHON_REDIS, REDIS, UVICORN } from "../prepare.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { ServerCalls } from "../programs/server.ts";
import type { Stage } from "../stage.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import type { Measured, Pace, Subject } from "./suite.ts";

/** A server with a room to follow. */
export interface Venue {
  wire: Wire;
  /** What its process holds in memory, bytes. */
  memory: () => Promise<number>;
}

export type Measure = (venue: Venue, stage: Stage, pace: Pace) => Promise<Measured>;

/** How subscribers come to Dialout's room. */
export type Way = "gateway" | "gateway-plain" | "direct";

export async function openDialout(stage: Stage, way: Way = "gateway"): Promise<Venue> {
  const edge = await DialoutEdge.start(stage);
  const kind = way === "direct" ? "room" : "gateway";
  const wire = { kind, batch: way !== "gateway-plain", ...edge.room } as const;
  return { wire, memory: () => edge.memory() };
}

/** Those that Dialout's rooms are measured beside; the first is what all are compared with. */
export function peersOf(measure: Measure): Subject[] {
  return [
    {
      name: "object",
      label: "object, a send a message and socket, nothing stored",
      measure: async (stage, pace) => measure(await openObject(stage), stage, pace),
    },
    {
      name: "partyserver",
      label: "partyserver, hibernation on",
      missing: () => missingPackage("partyserver"),
      measure: async (stage, pace) => measure(await openParty(stage), stage, pace),
    },
    {
      name: "socketio",
      label: "Socket.IO on Node",
      missing: () => missingPackage("socket.io"),
      measure: async (stage, pace) => measure(await openSocketIo(stage), stage, pace),
    },
    {
      name: "python-socketio",
      label: "python-socketio on uvicorn, through Redis",
      missing: () => {
        const file = [REDIS, PYTHON_REDIS, UVICORN].find((one) => !existsSync(one));
        return file === undefined ? null : `${file} is not installed`;
      },
      measure: async (stage, pace) => measure(await openPythonSocketIo(stage), stage, pace),
    },
  ];
}

function missingPackage(name: string): string | null {
  return isInstalled(name) ? null : `${name} is not installed`;
}

function openObject(stage: Stage): Promise<Venue> {
  const { peers } = bundles();
  return openWorkerd(stage, peers, { BROADCAST: "BroadcastObject" }, "/broadcast");
}

function openParty(stage: Stage): Promise<Venue> {
  return openWorkerd(stage, bundles().party, { PARTY: "Party" }, "/parties/party/room");
}

async function openWorkerd(
  stage: Stage,
  script: string,
  objects: Record<string, string>,
  path: string,
): Promise<Venue> {
  const edge = stage.launch<EdgeCalls>("edge.ts");
  const origin = await edge.call("start", { script, objects, folder: stage.path("state") });
  const wire = { kind: "plain", url: origin + path } as const;
  return { wire, memory: () => edge.call("memory", undefined) };
}

function openSocketIo(stage: Stage): Promise<Venue> {
  const script = join(import.meta.dirname, "../servers/socketio.ts");
  return openServer(stage, process.execPath, [script, "{port}"]);
}

async function openPythonSocketIo(stage: Stage): Promise<Venue> {
  const redis = await stage.launch<ServerCalls>("server.ts").call("start", {
    command: REDIS,
    args: ["--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no"],
    folder: stage.folder,
  });
  const script = join(import.meta.dirname, "../former/rooms.py");
  return openServer(stage, PYTHON, [script, "{port}", String(redis)]);
}

async function openServer(stage: Stage, command: string, args: string[]): Promise<Venue> {
  const server = stage.launch<ServerCalls>("server.ts");
  const port = await server.call("start", { command, args, folder: stage.folder });
  const wire = { kind: "socketio", url: `http://127.0.0.1:${port}` } as const;
  return { wire, memory: () => server.call("memory", undefined) };
}
