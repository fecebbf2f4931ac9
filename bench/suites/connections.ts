import { setTimeout as sleep } from "node:timers/promises";
import { mostOpenFiles } from "../files.ts";
import type { Stage } from "../stage.ts";
import { quantile } from "../statistics.ts";
import { Crowd, untilLast } from "./crowd.ts";
import type { Measured, Suite } from "./suite.ts";
import { openDialout, peersOf, type Venue } from "./venue.ts";

const CONNECTIONS = 2_000;
/** Open before the first is measured: what the server makes once is not theirs. */
const WARM_CONNECTIONS = 200;
const ALONE = 100;
const FEW_USERS = 100;
/** The runtime has a socket open twice; what else it has open is less than this. */
const FILES_A_SOCKET = 2;
const OTHER_FILES = 1_000;
/** As many as are asked about, or as a process may have files for. */
const MANY = Math.min(
  10_000,
  Math.floor((mostOpenFiles() - OTHER_FILES) / FILES_A_SOCKET / 100) * 100,
);
const LONE_EVENTS = 20;
/** What joining set off is over by then. */
const SETTLE_MS = 1_000;

/** What it takes to be connected and wait. */
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
      measure: async (stage) => measureIdle(await openDialout(stage), stage),
    },
    {
      name: "dialout-few-users",
      label: `Dialout, all of ${FEW_USERS} users`,
      measure: async (stage) => measureIdle(await openDialout(stage), stage, FEW_USERS),
    },
    {
      name: "dialout-many",
      label: `Dialout, ${MANY.toLocaleString("en")} sockets of ${FEW_USERS} users`,
      missing: tooFewFiles,
      measure: measureMany,
    },
    ...peersOf((venue, stage) => measureIdle(venue, stage)),
  ],
};

function measureIdle(venue: Venue, stage: Stage, users?: number): Promise<Measured> {
  return measureConnecting(venue, new Crowd(stage, venue, users), CONNECTIONS);
}

async function measureMany(stage: Stage): Promise<Measured> {
  const venue = await openDialout(stage);
  const crowd = new Crowd(stage, venue, FEW_USERS);
  const connected = await measureConnecting(venue, crowd, MANY - WARM_CONNECTIONS - ALONE);
  await crowd.connectPublisher();
  const each: number[] = [];
  const last: number[] = [];
  for (let sent = 0; sent < LONE_EVENTS; sent += 1) {
    const lone = await crowd.lone();
    for (const at of lone.arrivals) each.push(at - lone.sentAt);
    last.push(untilLast(lone));
  }
  return {
    ...connected,
    event_p50_ms: quantile(each, 0.5),
    event_p99_ms: quantile(each, 0.99),
    last_p50_ms: quantile(last, 0.5),
    last_p99_ms: quantile(last, 0.99),
  };
}

async function measureConnecting(venue: Venue, crowd: Crowd, count: number): Promise<Measured> {
  await crowd.gather(WARM_CONNECTIONS);
  await sleep(SETTLE_MS);
  const before = await venue.memory();
  const took = await crowd.gather(count);
  await sleep(SETTLE_MS);
  const after = await venue.memory();
  const alone = await crowd.gatherAlone(ALONE);
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
