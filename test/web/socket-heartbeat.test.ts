import { expect, test } from "vitest";
import { HEARTBEAT_MS, SocketHeartbeat } from "../../src/web/socket-heartbeat.ts";

/** How long a worker may be silent (`lease_s`), milliseconds. */
const LEASE_MS = 30_000;

test("a page's socket is dialed again if a ping is not answered, within the lease of a worker", () => {
  const heartbeat = new SocketHeartbeat();
  heartbeat.onReceived();
  expect([heartbeat.beat(), heartbeat.beat()]).toEqual(["ping", "redial"]);
  expect(2 * HEARTBEAT_MS).toBeLessThan(LEASE_MS);
});

test("a page's socket is kept while anything arrives on it", () => {
  const heartbeat = new SocketHeartbeat();
  for (let beat = 0; beat < 3; beat += 1) {
    expect(heartbeat.beat()).toBe("ping");
    heartbeat.onReceived();
  }
});
