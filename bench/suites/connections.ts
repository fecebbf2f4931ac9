import { setTimeout as sleep } from "node:timers/promises";
import { mostOpenFiles } from "../files.ts";
import type { Sandbox } from "../sandbox.ts";
import { quantile } from "../statistics.ts";
import { Audience, msUntilLast } from "./audience.ts";
import { openDialout, peersOf, type RoomServer } from "./room-server.ts";
import type { Measured, Suite } from "./suite.ts";

const CONNECTIONS = 2_000;
/** Opened before any is measured, so that what the server allocates only once is not counted. */
const WARM_CONNECTIONS = 200;
const ALONE = 100;
const FEW_USERS = 100;
/** workerd holds two files open for each socket. */
const FILES_A_SOCKET = 2;
/** More than workerd holds open for anything else. */
const OTHER_FILES = 1_000;
/** 10,000, or as many sockets as a process may have files for. */
const MANY = Math.min(
  10_000,
  Math.floor((mostOpenFiles() - OTHER_FILES) / FILES_A_SOCKET / 100) * 100,
);
const LONE_EVENTS = 20;
/** After this pause the work that joining caused is over. */
const SETTLE_MS = 1_000;

/** What a connected subscriber costs that only waits: time to connect, and memory. */
export const connections: Suite = {
  name: "connections",
  title: `Connections, ${CONNECTIONS.toLocaleString("en")} subscribers`,
  base: "object",
  columns: [
    { metric: "connect_p50_ms", heading: "connect p50 ms", ratio: true },
    { metric: "connect_p99_ms", heading: "p99 ms" },
    { metric: "alone_p50_ms", heading: "one at a time: p50 ms", ratio: true },
    { metric: "memory_kib", heading: "KiB a subscriber", ratio: true },
    { metric: "event_p50_ms", heading: "lone event to each: p50 ms" },
    { metric: "event_p99_ms", heading: "p99 ms" },
    { metric: "last_p50_ms", heading: "to the last: p50 ms" },
    { metric: "last_p99_ms", heading: "p99 ms" },
  ],
  subjects: [
    {
      name: "dialout",
      label: "Dialout, each another user",
      measure: async (sandbox) => measureIdle(await openDialout(sandbox), sandbox),
    },
    {
      name: "dialout-few-users",
      label: `Dialout, all of ${FEW_USERS} users`,
      measure: async (sandbox) => measureIdle(await openDialout(sandbox), sandbox, FEW_USERS),
    },
    {
      name: "dialout-many",
      label: `Dialout, ${MANY.toLocaleString("en")} sockets of ${FEW_USERS} users`,
      missing: tooFewFiles,
      measure: measureMany,
    },
    ...peersOf((server, sandbox) => measureIdle(server, sandbox)),
  ],
};

function measureIdle(server: RoomServer, sandbox: Sandbox, users?: number): Promise<Measured> {
  return measureConnecting(server, new Audience(sandbox, server, users), CONNECTIONS);
}

async function measureMany(sandbox: Sandbox): Promise<Measured> {
  const server = await openDialout(sandbox);
  const audience = new Audience(sandbox, server, FEW_USERS);
  const connected = await measureConnecting(server, audience, MANY - WARM_CONNECTIONS - ALONE);
  await audience.connectPublisher();
  const each: number[] = [];
  const last: number[] = [];
  for (let sent = 0; sent < LONE_EVENTS; sent += 1) {
    const times = await audience.publishOne();
    for (const at of times.arrivals) each.push(at - times.sentAt);
    last.push(msUntilLast(times));
  }
  return {
    ...connected,
    event_p50_ms: quantile(each, 0.5),
    event_p99_ms: quantile(each, 0.99),
    last_p50_ms: quantile(last, 0.5),
    last_p99_ms: quantile(last, 0.99),
  };
}

async function measureConnecting(
  server: RoomServer,
  audience: Audience,
  count: number,
): Promise<Measured> {
  await audience.addSubscribers(WARM_CONNECTIONS);
  await sleep(SETTLE_MS);
  const before = await server.memory();
  const took = await audience.addSubscribers(count);
  await sleep(SETTLE_MS);
  const after = await server.memory();
  const alone = await audience.addSubscribersOneByOne(ALONE);
  return {
    connect_p50_ms: quantile(took, 0.5),
    connect_p99_ms: quantile(took, 0.99),
    alone_p50_ms: quantile(alone, 0.5),
    memory_kib: (after - before) / count / 1_024,
  };
}

function tooFewFiles(): string | null {
  if (MANY > CONNECTIONS) return null;
  return `a process may open only ${mostOpenFiles()} files (ulimit -Hn)`;
}
