import { openingFrames, type ReplayableLog } from "../../channel/opening.ts";
import type { Position } from "../../channel/position.ts";
import { iso } from "../../protocol/iso.ts";
import { spaceStatusOf } from "../../queue/status.ts";
import type { SubscriberConnection } from "../connections.ts";
import type { SpaceCore } from "../space-core.ts";
import { snapshotOf } from "../space-status.ts";

/** Changed counts are sent at most this often, milliseconds. */
const STATUS_EVERY_MS = 100;

/**
 * The channel of a space's status: whether a worker serves it, how many jobs wait and run. Its log is the
 * last status alone, kept in memory, so its epoch ends with this memory.
 */
export class SpaceStatusChannel {
  private readonly core: SpaceCore;
  private readonly epoch = crypto.randomUUID().slice(0, 8);
  private offset = 0;
  private statusText = "";
  private changedAt = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private lastServing: string;
  /** Sockets of the space that were sent this memory's epoch. */
  private readonly greeted = new WeakSet<SubscriberConnection>();

  constructor(core: SpaceCore) {
    this.core = core;
    this.lastServing = this.serving();
  }

  /** Sends the first frames of a socket of the whole space; call `publish` first, so that others know too. */
  open(subscriber: SubscriberConnection, since: Position | null, now: number): void {
    this.greeted.add(subscriber);
    for (const frame of openingFrames(this.log(now), since)) {
      this.core.connections.send(subscriber, frame);
    }
  }

  /** Sends every socket of the space its status, if it changed. */
  publish(now: number): void {
    if (!this.refresh(now)) return;
    const text = JSON.stringify(this.frame());
    for (const subscriber of this.core.connections.subscribers()) {
      if (subscriber.attachment.jobUlid !== null) continue;
      if (!this.greeted.has(subscriber)) this.greet(subscriber, now);
      this.core.connections.sendText(subscriber, text);
    }
  }

  /** Publishes soon: at once if a worker came or went, otherwise at most every STATUS_EVERY_MS. */
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

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** Tells a socket that outlived the memory it was opened in that offsets start again. */
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
    return workers.map(({ attachment: { state } }) => `${state.generation} ${state.phase}`).join();
  }

  private refresh(now: number): boolean {
    const text = JSON.stringify(spaceStatusOf(snapshotOf(this.core)));
    if (text === this.statusText) return false;
    this.statusText = text;
    this.offset += 1;
    this.changedAt = now;
    return true;
  }

  private frame(): object {
    return {
      type: "space.status",
      space: this.core.record.name,
      ...JSON.parse(this.statusText),
      offset: this.offset,
      timestamp: iso(this.changedAt),
    };
  }
}
