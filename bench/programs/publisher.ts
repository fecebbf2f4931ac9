/** The one who publishes to the room. */
import { inParallel } from "../clients/in-parallel.ts";
import { openPublisher, type Publisher } from "../clients/publishers.ts";
import type { Wire } from "../clients/wires.ts";
import { sharedNow } from "../clock.ts";
import { answerCalls } from "./child.ts";

const calls = {
  async connect(wire: Wire): Promise<void> {
    publisher = await openPublisher(wire);
  },
  /** A lone event: its number, and when it was sent. */
  async one(): Promise<{ number: number; sentAt: number }> {
    const sentAt = sharedNow();
    return { number: await connected().publish(), sentAt };
  },
  /** Keeps so many in flight for so long; the last one's number, once all have come back. */
  async flood({ inFlight, until }: { inFlight: number; until: number }): Promise<number> {
    let last = 0;
    await inParallel(inFlight, async () => {
      while (sharedNow() < until) last = Math.max(last, await connected().publish());
    });
    return last;
  },
};
export type PublisherCalls = typeof calls;

let publisher: Publisher | null = null;
answerCalls(calls);

function connected(): Publisher {
  if (!publisher) throw new Error("connect first");
  return publisher;
}
