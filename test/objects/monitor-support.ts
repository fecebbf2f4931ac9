import { applyD1Migrations, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { SILENT_MS } from "../../src/monitor/census.ts";
import { MONITOR_NAME } from "../../src/monitor/reporter.ts";
import {
  type StatsResource,
  type SystemStatusFrame,
  statsResource,
  systemStatusFrame,
} from "../../src/protocol/monitor.ts";
import { call, expectStatus, OPERATOR, TestSocket } from "./support.ts";

/** Nothing is stored anywhere, and the monitor has heard of nothing. */
export async function forgetAll(): Promise<void> {
  await reset();
  await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
}

export function monitor() {
  return env.MONITOR.getByName(MONITOR_NAME);
}

export async function stats(): Promise<StatsResource> {
  const path = "/api/v1/websocket/stats";
  const answer = await expectStatus(200, await call("GET", path, undefined, OPERATOR));
  return statsResource.parse(await answer.json());
}

/** Somebody who watches. */
export class Watcher {
  readonly socket: TestSocket;

  private constructor(socket: TestSocket) {
    this.socket = socket;
  }

  static async open(): Promise<Watcher> {
    return new Watcher(await TestSocket.open("/ws/monitor", OPERATOR));
  }

  /** The next status for which `wanted` holds. */
  async sees(wanted: (status: SystemStatusFrame) => boolean): Promise<SystemStatusFrame> {
    const frame = await this.socket.next((one) => wanted(systemStatusFrame.parse(one)));
    return systemStatusFrame.parse(frame);
  }
}

/** As if so much time had gone by since the monitor heard of anyone. */
export async function letGoBy(ms: number): Promise<void> {
  await runInDurableObject(monitor(), (_object, { storage }) => {
    storage.sql.exec("UPDATE sources SET heard_at = heard_at - ?", ms);
  });
  // In memory it knows better.
  await evictDurableObject(monitor());
}

export const SILENT = SILENT_MS + 1;
