import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { bundles } from "../bundles.ts";
import type { RoomEndpoint } from "../clients/room-endpoint.ts";
import { isInstalled, PYTHON, PYTHON_REDIS, REDIS, UVICORN } from "../prepare.ts";
import type { EdgeCalls } from "../programs/edge.ts";
import type { ServerCalls } from "../programs/server.ts";
import type { Sandbox } from "../sandbox.ts";
import { DialoutEdge } from "./dialout-edge.ts";
import type { BenchSubject, Measured, Timing } from "./suite.ts";

/** A running server with one room to follow. */
export interface RoomServer {
  endpoint: RoomEndpoint;
  /** Resolves with the bytes that its process holds in memory. */
  memory: () => Promise<number>;
}

export type MeasureRoomServer = (
  server: RoomServer,
  sandbox: Sandbox,
  timing: Timing,
) => Promise<Measured>;

/** How subscribers connect to Dialout's room. */
export type SubscriberRoute = "gateway" | "gateway-plain" | "direct";

export async function openDialout(
  sandbox: Sandbox,
  route: SubscriberRoute = "gateway",
): Promise<RoomServer> {
  const edge = await DialoutEdge.start(sandbox);
  const kind = route === "direct" ? "room" : "gateway";
  const endpoint = { kind, batch: route !== "gateway-plain", ...edge.room } as const;
  return { endpoint, memory: () => edge.memory() };
}

/** The servers that Dialout's rooms are compared with; the first is the base of the ratios. */
export function peersOf(measure: MeasureRoomServer): BenchSubject[] {
  return [
    {
      name: "object",
      label: "object, a send a message and socket, nothing stored",
      measure: async (sandbox, timing) => measure(await openObject(sandbox), sandbox, timing),
    },
    {
      name: "partyserver",
      label: "partyserver, hibernation on",
      missing: () => missingPackage("partyserver"),
      measure: async (sandbox, timing) => measure(await openParty(sandbox), sandbox, timing),
    },
    {
      name: "socketio",
      label: "Socket.IO on Node",
      missing: () => missingPackage("socket.io"),
      measure: async (sandbox, timing) => measure(await openSocketIo(sandbox), sandbox, timing),
    },
    {
      name: "python-socketio",
      label: "python-socketio on uvicorn, through Redis",
      missing: () => {
        const file = [REDIS, PYTHON_REDIS, UVICORN].find((path) => !existsSync(path));
        return file === undefined ? null : `${file} is not installed`;
      },
      measure: async (sandbox, timing) =>
        measure(await openPythonSocketIo(sandbox), sandbox, timing),
    },
  ];
}

function missingPackage(name: string): string | null {
  return isInstalled(name) ? null : `${name} is not installed`;
}

function openObject(sandbox: Sandbox): Promise<RoomServer> {
  const { peers } = bundles();
  return openWorkerd(sandbox, peers, { BROADCAST: "BroadcastObject" }, "/broadcast");
}

function openParty(sandbox: Sandbox): Promise<RoomServer> {
  return openWorkerd(sandbox, bundles().party, { PARTY: "Party" }, "/parties/party/room");
}

async function openWorkerd(
  sandbox: Sandbox,
  script: string,
  objects: Record<string, string>,
  path: string,
): Promise<RoomServer> {
  const edge = sandbox.launch<EdgeCalls>("edge.ts");
  const origin = await edge.call("start", { script, objects, folder: sandbox.path("state") });
  const endpoint = { kind: "plain", url: origin + path } as const;
  return { endpoint, memory: () => edge.call("memory", undefined) };
}

function openSocketIo(sandbox: Sandbox): Promise<RoomServer> {
  const script = join(import.meta.dirname, "../servers/socketio.ts");
  return openServer(sandbox, process.execPath, [script, "{port}"]);
}

async function openPythonSocketIo(sandbox: Sandbox): Promise<RoomServer> {
  const redis = await sandbox.launch<ServerCalls>("server.ts").call("start", {
    command: REDIS,
    args: ["--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no"],
    folder: sandbox.folder,
  });
  const script = join(import.meta.dirname, "../baseline/rooms.py");
  return openServer(sandbox, PYTHON, [script, "{port}", String(redis)]);
}

async function openServer(sandbox: Sandbox, command: string, args: string[]): Promise<RoomServer> {
  const server = sandbox.launch<ServerCalls>("server.ts");
  const port = await server.call("start", { command, args, folder: sandbox.folder });
  const endpoint = { kind: "socketio", url: `http://127.0.0.1:${port}` } as const;
  return { endpoint, memory: () => server.call("memory", undefined) };
}
