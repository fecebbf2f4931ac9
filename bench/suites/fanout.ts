import { sharedNow } from "../clock.ts";
import type { Stage } from "../stage.ts";
import { quantile } from "../statistics.ts";
import { Crowd, untilLast } from "./crowd.ts";
import type { Measured, Pace, Subject, Suite } from "./suite.ts";
import { openDialout, peersOf, type Venue, type Way } from "./venue.ts";

const SUBSCRIBERS = 1_000;
const IN_FLIGHT = 32;

/** One room that many follow: an event is published when everyone has it. */
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

function dialout(name: string, way: Way, label: string): Subject {
  return {
    name,
    label,
    measure: async (stage, pace) => measureFanout(await openDialout(stage, way), stage, pace),
  };
}

async function measureFanout(venue: Venue, stage: Stage, pace: Pace): Promise<Measured> {
  const { ms, warmMs } = pace;
  const crowd = new Crowd(stage, venue);
  await crowd.gather(SUBSCRIBERS);
  await crowd.connectPublisher();
  const from = sharedNow() + warmMs;
  const deliveries = await crowd.flood(IN_FLIGHT, { from, until: from + ms }, warmMs + ms);
  const times: number[] = [];
  for (const endsAt = sharedNow() + ms; sharedNow() < endsAt; ) {
    times.push(untilLast(await crowd.lone()));
  }
  return {
    events_per_s: (deliveries / SUBSCRIBERS / ms) * 1_000,
    p50_ms: quantile(times, 0.5),
    p99_ms: quantile(times, 0.99),
  };
}
