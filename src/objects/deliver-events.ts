import {
  eventTextsOf,
  type JobEventText,
  type Throttle,
  type Throttled,
} from "../channel/throttle.ts";
import { logErrors } from "./log-errors.ts";

interface ThrottledFollower {
  attachment: { throttled: Throttled | null };
}

interface EventDelivery<S extends ThrottledFollower> {
  throttle: Throttle<S>;
  sendText: (subscriber: S, text: string) => void;
  /** Called for each subscriber after its frames, if the job has ended. */
  onEnd: ((subscriber: S) => void) | null;
}

/** Sends a job's new events to its followers. Each frame is serialized once for all of them. */
export function deliverEvents<S extends ThrottledFollower>(
  followers: Iterable<S>,
  frames: Parameters<typeof eventTextsOf>[0],
  { throttle, sendText, onEnd }: EventDelivery<S>,
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
