import { sharedNow } from "../clock.ts";
import type { Sandbox } from "../sandbox.ts";
import { quantile } from "../statistics.ts";
import { Audience, msUntilLast } from "./audience.ts";
import { openDialout, peersOf, type RoomServer, type SubscriberRoute } from "./room-server.ts";
import type { BenchSubject, Measured, Suite, Timing } from "./suite.ts";

const SUBSCRIBERS = 1_000;
const IN_FLIGHT = 32;

/** How fast events reach everyone who follows one room. */
export const fanout: Suite = {
  name: "fanout",
  title: `Fan-out to ${SUBSCRIBERS.toLocaleString("en")} subscribers`,
  base: "object",
  columns: [
    { metric: "events_per_s", heading: `${IN_FLIGHT} in flight, events/s to all`, ratio: true },
    { metric: "p50_ms", heading: "one at a time, to the last: p50 ms", ratio: true },
    { metric: "p99_ms", heading: "p99 ms" },
  ],
  subjects: [
    dialout("dialout", "gateway", "Dialout, over gateways"),
    dialout("dialout-plain", "gateway-plain", "Dialout, over gateways, a frame an event"),
    dialout("dialout-direct", "direct", "Dialout, sockets of the room"),
    ...peersOf(measureFanout),
  ],
};

function dialout(name: string, route: SubscriberRoute, label: string): BenchSubject {
  return {
    name,
    label,
    measure: async (sandbox, timing) =>
      measureFanout(await openDialout(sandbox, route), sandbox, timing),
  };
}

async function measureFanout(
  server: RoomServer,
  sandbox: Sandbox,
  timing: Timing,
): Promise<Measured> {
  const { ms, warmMs } = timing;
  const audience = new Audience(sandbox, server);
  await audience.addSubscribers(SUBSCRIBERS);
  await audience.connectPublisher();
  const from = sharedNow() + warmMs;
  const deliveries = await audience.publishDuring(
    IN_FLIGHT,
    { from, until: from + ms },
    warmMs + ms,
  );
  const times: number[] = [];
  for (const endsAt = sharedNow() + ms; sharedNow() < endsAt; ) {
    times.push(msUntilLast(await audience.publishOne()));
  }
  return {
    events_per_s: (deliveries / SUBSCRIBERS / ms) * 1_000,
    p50_ms: quantile(times, 0.5),
    p99_ms: quantile(times, 0.99),
  };
}
