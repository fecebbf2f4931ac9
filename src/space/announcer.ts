import type { SpaceCore } from "./core.ts";
import type { Feed } from "./feed.ts";
import type { Change } from "./ledger.ts";

/** Queue positions and status are told at most this often, milliseconds. */
const POSITIONS_EVERY_MS = 1_000;
const STATUS_EVERY_MS = 100;

/** Tells what many changes add up to, at a bounded rate. */
export class Announcer {
  private readonly core: SpaceCore;
  private readonly feed: Feed;
  private readonly commit: (work: (now: number) => void) => void;
  private statusTimer: ReturnType<typeof setTimeout> | null = null;
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;
  private servedBefore: string;

  constructor(core: SpaceCore, feed: Feed, commit: (work: (now: number) => void) => void) {
    this.core = core;
    this.feed = feed;
    this.commit = commit;
    this.servedBefore = this.service();
  }

  announce(changes: readonly Change[]): void {
    this.tellStatus();
    const isQueueMoved = changes.some(
      ({ job, before }) => job.status === "queued" || before?.status === "queued",
    );
    if (isQueueMoved && this.feed.hasFollowers()) this.tellPositions();
  }

  stop(): void {
    if (this.statusTimer !== null) clearTimeout(this.statusTimer);
    if (this.positionsTimer !== null) clearTimeout(this.positionsTimer);
  }

  /** A worker's coming and going is told at once, counts a little later. */
  private tellStatus(): void {
    const service = this.service();
    if (service !== this.servedBefore) {
      this.servedBefore = service;
      this.feed.publishStatus(Date.now());
      return;
    }
    this.statusTimer ??= setTimeout(() => {
      this.statusTimer = null;
      this.feed.publishStatus(Date.now());
    }, STATUS_EVERY_MS);
  }

  private service(): string {
    const workers = this.core.connections.readyWorkers();
    return workers.map(({ at: { state } }) => `${state.generation} ${state.phase}`).join();
  }

  private tellPositions(): void {
    this.positionsTimer ??= setTimeout(() => {
      this.positionsTimer = null;
      this.commit((now) => {
        for (const { ulid, position } of this.feed.movedPositions()) {
          this.core.ledger.apply(ulid, { type: "position", position }, now);
        }
      });
    }, POSITIONS_EVERY_MS);
  }
}
