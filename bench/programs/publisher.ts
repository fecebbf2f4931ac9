/** Publishes to the room. */
import { inParallel } from "../clients/in-parallel.ts";
import { openPublisher, type RoomPublisher } from "../clients/publishers.ts";
import type { RoomEndpoint } from "../clients/room-endpoint.ts";
import { sharedNow } from "../clock.ts";
import { answerCalls } from "./child.ts";

const calls = {
  async connect(endpoint: RoomEndpoint): Promise<void> {
    publisher = await openPublisher(endpoint);
  },
  /** Publishes one event; returns its number and when it was sent. */
  async publishOne(): Promise<{ number: number; sentAt: number }> {
    const sentAt = sharedNow();
    return { number: await connected().publish(), sentAt };
  },
  /**
   * Keeps `inFlight` events in flight until the instant `until`; resolves with the last event's
   * number once all have come back.
   */
  async publishUntil({ inFlight, until }: { inFlight: number; until: number }): Promise<number> {
    let last = 0;
    await inParallel(inFlight, async () => {
      while (sharedNow() < until) last = Math.max(last, await connected().publish());
    });
    return last;
  },
};
export type PublisherCalls = typeof calls;

let publisher: RoomPublisher | null = null;
answerCalls(calls);

function connected(): RoomPublisher {
  if (!publisher) throw new Error("connect first");
  return publisher;
}
