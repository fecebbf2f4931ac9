import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { WebSocketServer } from "ws";
import { DEFAULT_SETTINGS } from "../../../src/protocol/resources.ts";
import { diagnose, type Patient } from "../../../worker-client/doctor/diagnosis.ts";
import type { Finding } from "../../../worker-client/doctor/finding.ts";
import type { Certificate } from "../../support/certificates.ts";

export const SPACE = "echo";
export const TOKEN = "dow_a-worker-token-for-tests";
const AT = "2026-11-01T00:00:00.000Z";

/** What the edge of a test says; everything that isn't given is in order. */
export interface Says {
  tls?: Certificate;
  /** The edge's clock is so much ahead, milliseconds. */
  aheadMs?: number;
  /** Answers requests that are about no socket; returns whether it did. */
  answer?(request: IncomingMessage, response: ServerResponse): boolean;
  /** The status and the problem with which a socket is refused. */
  refuse?: { status: number; type: string; body: string };
  /** The frames with which a socket is greeted. */
  greet?: object[];
  status?: object;
  settings?: object;
}

export function problem(status: number, code: string, detail: string) {
  const body = JSON.stringify({ type: "about:blank", title: code, status, detail, code });
  return { status, type: "application/problem+json", body };
}

/** What the fake edge was asked: the paths, and what was sent in the header for the credential. */
export interface FakeEdge {
  url: string;
  port: number;
  asked: { path: string; authorization: string | undefined }[];
  frames: string[];
}

export async function startFakeEdge(says: Says = {}): Promise<FakeEdge> {
  const asked: FakeEdge["asked"] = [];
  const frames: string[] = [];
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    asked.push({ path: request.url ?? "", authorization: request.headers.authorization });
    if (says.aheadMs !== undefined) {
      response.setHeader("date", new Date(Date.now() + says.aheadMs).toUTCString());
    }
    if (says.answer?.(request, response)) return;
    response.setHeader("content-type", "application/json");
    if (request.url === "/healthz") response.end('{"status":"ok"}');
    else if (request.url?.startsWith(`/api/spaces/${SPACE}/jobs`)) {
      response.end('{"jobs":[],"next_cursor":null}');
    } else response.end(JSON.stringify(spaceOf(says)));
  };
  const server: Server = says.tls ? createTlsServer(says.tls, onRequest) : createServer(onRequest);
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    asked.push({ path: request.url ?? "", authorization: request.headers.authorization });
    const { refuse } = says;
    if (refuse !== undefined) {
      const lines = [
        `HTTP/1.1 ${refuse.status} No`,
        `content-type: ${refuse.type}`,
        "connection: close",
      ];
      socket.end(`${lines.join("\r\n")}\r\n\r\n${refuse.body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => {
      for (const frame of says.greet ?? greetingFor(request)) opened.send(JSON.stringify(frame));
      opened.on("message", (data) => {
        frames.push(String(data));
        if (String(data) === "ping") opened.send("pong");
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `${says.tls ? "https" : "http"}://localhost:${port}`, port, asked, frames };
}

function greetingFor(request: IncomingMessage): object[] {
  if (!request.url?.endsWith("/connect")) {
    return [
      { type: "connection", space: SPACE, epoch: "e", offset: 0, recovered: false, timestamp: AT },
    ];
  }
  return [helloOf({ workers: 0, max_workers: 1 })];
}

export function helloOf(fields: object) {
  const times = { heartbeat_s: 10, lease_s: 30, max_frame_bytes: 1_048_576 };
  return { type: "hello", protocol: "dialout.worker.v1", space: SPACE, ...times, ...fields };
}

function spaceOf({ status, settings }: Says) {
  return {
    name: SPACE,
    ...DEFAULT_SETTINGS,
    ...settings,
    owner: null,
    access: null,
    created_at: AT,
    updated_at: AT,
    status: {
      worker: "connected",
      worker_name: "box",
      queue_size: 0,
      processing: 0,
      estimated_wait_s: 0,
      ...status,
    },
    urls: { self: "/a", page: "/b", jobs: "/c", ws: "/d" },
  };
}

/** Everything that the doctor finds. */
export async function examine(url: string, patient: Partial<Patient> = {}): Promise<Finding[]> {
  const whole: Patient = {
    role: "worker",
    address: { ok: true, url: new URL(url) },
    space: SPACE,
    credential: TOKEN,
    program: null,
    env: {},
    stepMs: 2_000,
    ...patient,
  };
  const findings: Finding[] = [];
  for await (const finding of diagnose(whole)) findings.push(finding);
  return findings;
}

/** What is not in order, as `check level: message; advice`. */
export function complaints(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ level }) => level !== "ok")
    .map(({ check, level, message, advice }) => `${check} ${level}: ${message}; ${advice ?? ""}`);
}
