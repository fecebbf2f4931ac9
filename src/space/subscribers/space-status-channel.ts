import { openingFrames, type ReplayableLog } from "../../channel/opening.ts";
import type { Position } from "../../channel/position.ts";
import { iso } from "../../protocol/iso.ts";
import { type DatedStatus, isNews } from "../../queue/status.ts";
import type { SubscriberConnection } from "../connections.ts";
import type { SpaceCore } from "../space-core.ts";
import { statusOf } from "../space-status.ts";

/** Least time between two status frames if only counts have changed, milliseconds. */
const STATUS_EVERY_MS = 100;

/**
 * The channel of a space's status: whether a worker serves it, how many jobs wait and run. Its log is only the
 * last status and is kept in memory, so offsets start again when memory is lost, with a new epoch. Example: a
 * client has offset 5 of the old memory and reconnects when the new memory has also given out 5 offsets. If the
 * epochs were equal, it would count as up to date and be sent nothing, although the status is another one.
 */
export class SpaceStatusChannel {
  private readonly core: SpaceCore;
  private readonly epoch = crypto.randomUUID().slice(0, 8);
  /** Of the last status. */
  private offset = 0;
  /** What the sockets were sent last; `null` if that isn't known. */
  private last: DatedStatus | null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private lastServing: string;
  /** Sockets of the space that have been sent the current epoch. */
  private readonly greeted = new WeakSet<SubscriberConnection>();

  constructor(core: SpaceCore) {
    this.core = core;
    this.lastServing = this.serving();
    this.last = this.sentBefore();
  }

  /**
   * Sends a new socket of the space its first frames. Call `publish` before, so that the others get the same
   * status.
   */
  open(subscriber: SubscriberConnection, since: Position | null, now: number): void {
    if (this.offset === 0) this.take({ status: statusOf(this.core, now), at: now });
    this.greeted.add(subscriber);
    for (const frame of openingFrames(this.log(now), since)) {
      this.core.connections.send(subscriber, frame);
    }
  }

  /** Sends the status to every socket of the space, if it tells them anything new. */
  publish(now: number): void {
    const current = { status: statusOf(this.core, now), at: now };
    if (this.last !== null && !isNews(this.last, current)) return;
    this.take(current);
    const text = JSON.stringify(this.frame());
    for (const subscriber of this.core.connections.subscribers()) {
      if (subscriber.attachment.jobUlid !== null) continue;
      if (!this.greeted.has(subscriber)) this.greet(subscriber, now);
      this.core.connections.sendText(subscriber, text);
    }
  }

  /** Publishes the status: at once if a worker came or went, otherwise at most every STATUS_EVERY_MS. */
  schedule(): void {
    const serving = this.serving();
    if (serving !== this.lastServing) {
      this.lastServing = serving;
      this.publish(Date.now());
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.publish(Date.now());
    }, STATUS_EVERY_MS);
  }

  /** Cancels the timer. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Sends the new epoch to a socket that was opened before the object lost its memory. */
  private greet(subscriber: SubscriberConnection, now: number): void {
    this.greeted.add(subscriber);
    const { epoch, offset } = this;
    const { name: space } = this.core.record;
    const timestamp = iso(now);
    const frame = { type: "connection", space, epoch, offset, recovered: false, timestamp };
    this.core.connections.send(subscriber, frame);
  }

  private log(now: number): ReplayableLog {
    const { epoch, offset: last } = this;
    return {
      address: { space: this.core.record.name },
      epoch,
      last,
      trimmedTo: last - 1,
      timestamp: iso(now),
      eventsAfter: (offset) => (offset < last ? [this.frame()] : []),
      snapshot: () => [this.frame()],
    };
  }

  private serving(): string {
    const workers = this.core.connections.readyWorkers();
    return workers
      .map(({ attachment: { state } }) => `${state.generation} ${state.phase} ${state.isSilent}`)
      .join();
  }

  /**
   * What the sockets were sent before the memory was lost: the status as it would be then, from the rows and the
   * attachments, because changes are sent before the object can sleep. So an alarm that finds nothing new sends
   * nothing (decision 0036). `null` if they were told that a worker is silent. `at` is long ago, so that an estimate
   * which differs is sent.
   */
  private sentBefore(): DatedStatus | null {
    const workers = this.core.connections.readyWorkers();
    if (workers.some(({ attachment: { state } }) => state.isSilent)) return null;
    return { status: statusOf(this.core, 0), at: 0 };
  }

  /** Gives a status its offset. */
  private take(status: DatedStatus): void {
    this.last = status;
    this.offset += 1;
  }

  private frame(): object {
    const { last } = this;
    return {
      type: "space.status",
      space: this.core.record.name,
      ...last?.status,
      offset: this.offset,
      timestamp: iso(last?.at ?? 0),
    };
  }
}
