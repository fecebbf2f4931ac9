import type { Socket } from "node:net";
import WebSocket from "ws";
import { addressUnder } from "../../src/client/edge-address.ts";
import { SUBSCRIBER_PROTOCOL } from "../../src/protocol/subscriber-frames.ts";
import { helloFrame, WORKER_PROTOCOL } from "../../src/protocol/worker-frames.ts";
import { describeFailure, describeRefusal } from "../dial-failure.ts";
import { type Edge, jsonIn } from "./answer.ts";
import type { Role } from "./credential.ts";
import type { Places } from "./edge-checks.ts";
import { type Finding, ok, unknown, warning, wrong } from "./finding.ts";
import { sinceMs } from "./network-checks.ts";

/** Round trips that are measured, one after the other. */
const TRIPS = 5;
/** Pings that are sent at once: 10 bytes each on the way out, 6 on the way back. */
const BURST = 1_000;
const BURST_BYTES = 16 * BURST;
/** What counts as slow, milliseconds. */
const SLOW_TRIP_MS = 1_000;
const SLOW_BURST_MS = 2_000;
const MAX_RECEIVED_BYTES = 4 * 1_048_576;

/** How each role connects, and the frame by which the edge greets it. */
const DIALS = {
  worker: { path: "connect", protocol: WORKER_PROTOCOL, greeting: "hello" },
  client: { path: "ws", protocol: SUBSCRIBER_PROTOCOL, greeting: "connection" },
} as const;

/**
 * Opens a WebSocket to the space as the role would, waits for the edge's greeting, measures the link with pings, and
 * leaves. A worker's socket is closed before it has registered (W6c), so no other worker is disturbed, and no job sent.
 */
export async function checkSocket(edge: Edge, space: string, role: Role): Promise<SocketChecks> {
  const dialed = await open(edge, space, role);
  if ("finding" in dialed) return { findings: [dialed.finding], places: null };
  const { socket, ms } = dialed;
  const check = role === "worker" ? "and the token is one of the space" : "and the edge greets you";
  const opened = ok("websocket", `a WebSocket opens, ${check} (${ms} ms)`);
  try {
    return { findings: [opened, await measure(socket, dialed.connection)], places: dialed.places };
  } finally {
    socket.close(1000);
    setTimeout(() => socket.terminate(), 1_000).unref();
  }
}

export interface SocketChecks {
  findings: Finding[];
  /** As the edge's `hello` says; `null` if it doesn't. */
  places: Places | null;
}

interface Opened {
  socket: WebSocket;
  places: Places | null;
  connection: Socket | null;
  ms: number;
}

function open(edge: Edge, space: string, role: Role): Promise<Opened | { finding: Finding }> {
  const { path, protocol, greeting } = DIALS[role];
  const address = addressUnder(edge.url, `/api/spaces/${encodeURIComponent(space)}/${path}`);
  address.protocol = address.protocol.replace("http", "ws");
  const started = performance.now();
  const { credential, stepMs } = edge;
  const socket = new WebSocket(address.href, protocol, {
    headers: credential === null ? {} : { authorization: `Bearer ${credential}` },
    handshakeTimeout: stepMs,
    maxPayload: MAX_RECEIVED_BYTES,
    perMessageDeflate: false,
  });
  return new Promise((resolve) => {
    let connection: Socket | null = null;
    const fail = (finding: Finding) => {
      clearTimeout(silence);
      resolve({ finding });
      socket.terminate();
    };
    const silence = setTimeout(() => {
      const message = `the connection opens, but the edge's first frame doesn't come within ${stepMs / 1_000} s`;
      fail(wrong("websocket", message, "see whether a proxy in between holds frames back"));
    }, 2 * stepMs);
    socket.on("upgrade", (response) => {
      connection = response.socket;
    });
    socket.on("message", (data) => {
      const frame = frameOf(String(data));
      if (frame.type !== greeting) return;
      clearTimeout(silence);
      resolve({ socket, connection, places: placesIn(frame), ms: sinceMs(started) });
    });
    socket.on("unexpected-response", async (_request, response) => {
      const { isProblem, detail } = await describeRefusal(response, edge.url.href);
      fail(refused(response.statusCode ?? 0, isProblem, detail, role));
    });
    socket.on("error", (error) => {
      const advice = "see whether a proxy in between cuts WebSockets off (docs/own-server.md)";
      fail(wrong("websocket", describeFailure(error, edge.url.href), advice));
    });
    socket.on("close", (code, reason) => {
      const why = reason.toString() || `the edge closed the connection with ${code}`;
      fail(wrong("websocket", why, "try again; if it stays so, ask the operator of the edge"));
    });
  });
}

function frameOf(text: string): { type?: unknown } {
  return Object(jsonIn(text));
}

function placesIn(frame: unknown): Places | null {
  const { data } = helloFrame.safeParse(frame);
  if (data?.workers === undefined || data.max_workers === undefined) return null;
  return { workers: data.workers, max_workers: data.max_workers };
}

function refused(status: number, isProblem: boolean, detail: string | null, role: Role): Finding {
  if (status === 426) {
    const message = "the edge was asked without `Upgrade: websocket`: a proxy in between drops it";
    const advice = "have the proxy pass it on: docs/own-server.md has the lines for nginx";
    return wrong("websocket", message, advice);
  }
  if (!isProblem) {
    const message = `something before the edge refuses WebSockets with status ${status}`;
    const said = detail === null ? message : `${message}: ${detail}`;
    return wrong("websocket", said, "have the proxy or firewall let WebSockets through");
  }
  const why = detail ?? `the edge refuses with status ${status}`;
  if (status === 401 || status === 403) {
    const advice =
      role === "worker"
        ? "make a token of this space on the page /spaces/<space>/settings, and give that one"
        : "set DIALOUT_KEY to a key that opens the space";
    return wrong("access", why, advice);
  }
  if (status === 404) return wrong("space", why, "check the space's name");
  const advice = "try again later; if it stays so, ask the operator of the edge";
  return wrong("websocket", why, advice);
}

/** The runtime answers pings by itself: they wake no object. */
async function measure(socket: WebSocket, connection: Socket | null): Promise<Finding> {
  const trips: number[] = [];
  for (let trip = 0; trip < TRIPS; trip += 1) {
    const ms = await timePings(socket, connection, 1);
    if (ms === null) return silent();
    trips.push(ms);
  }
  const tripMs = trips.sort((one, other) => one - other)[Math.floor(TRIPS / 2)] ?? 0;
  const burstMs = await timePings(socket, connection, BURST);
  if (burstMs === null) return silent();
  const kilobytes = Math.round(BURST_BYTES / 1_000);
  const measured = `a round trip takes ${rounded(tripMs)} ms, ${kilobytes} KB there and back ${rounded(burstMs)} ms`;
  if (tripMs < SLOW_TRIP_MS && burstMs - tripMs < SLOW_BURST_MS) return ok("link", measured);
  const advice =
    "Dialout copes with 4 KB a second, but files and large results take minutes: use another network";
  return warning("link", `the link is slow: ${measured}`, advice);
}

function rounded(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms));
}

function silent(): Finding {
  return unknown(
    "link",
    `pings were not answered within ${PONG_MS / 1_000} s, so it was not measured`,
  );
}

const PONG_MS = 20_000;

/** How long it takes until so many pings are answered, milliseconds; `null` if they aren't. */
function timePings(
  socket: WebSocket,
  connection: Socket | null,
  count: number,
): Promise<number | null> {
  const started = performance.now();
  return new Promise((resolve) => {
    let missing = count;
    const end = (ms: number | null) => {
      clearTimeout(timer);
      socket.off("message", onMessage);
      socket.off("close", onClose);
      resolve(ms);
    };
    const onMessage = (data: WebSocket.RawData) => {
      if (String(data) !== "pong") return;
      missing -= 1;
      if (missing === 0) end(performance.now() - started);
    };
    const onClose = () => end(null);
    const timer = setTimeout(() => end(null), PONG_MS);
    socket.on("message", onMessage).on("close", onClose);
    // As few packets as possible, so that the link is measured and not the number of writes.
    connection?.cork();
    for (let sent = 0; sent < count; sent += 1) socket.send("ping");
    connection?.uncork();
  });
}
