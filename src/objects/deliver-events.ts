import {
  eventTextsOf,
  type JobEventText,
  type Throttle,
  type Throttled,
} from "../channel/throttle.ts";
import { logErrors } from "./log-errors.ts";

interface Follower {
  attachment: { throttled: Throttled | null };
}

interface Delivery<S extends Follower> {
  throttle: Throttle<S>;
  sendText: (subscriber: S, text: string) => void;
  /** Called for each subscriber after its frames, if the job has ended. */
  onEnd: ((subscriber: S) => void) | null;
}

/** Sends a job's new events to its followers; each frame is written as text once for all of them. */
export function deliverEvents<S extends Follower>(
  followers: Iterable<S>,
  frames: Parameters<typeof eventTextsOf>[0],
  { throttle, sendText, onEnd }: Delivery<S>,
  now: number,
): void {
  const texts = frames.map((frame) => JSON.stringify(frame));
  let events: readonly JobEventText[] | undefined;
  for (const follower of followers) {
    logErrors(() => {
      if (follower.attachment.throttled === null) {
        for (const text of texts) sendText(follower, text);
      } else {
        events ??= eventTextsOf(frames, texts);
        throttle.send(follower, events, now);
      }
    });
    if (onEnd) logErrors(() => onEnd(follower));
  }
}
