import type { JobFollowers } from "./job-followers.ts";
import type { SpaceCore } from "./space-core.ts";
import type { Change } from "./unit-of-work.ts";

/** Queue positions and status are told at most this often, milliseconds. */
const POSITIONS_EVERY_MS = 1_000;
const STATUS_EVERY_MS = 100;

/** Tells what many changes add up to, at a bounded rate. */
export class StatusAnnouncer {
  private readonly core: SpaceCore;
  private readonly feed: JobFollowers;
  private readonly commit: (work: (now: number) => void) => void;
  private statusTimer: ReturnType<typeof setTimeout> | null = null;
  private positionsTimer: ReturnType<typeof setTimeout> | null = null;
  private lastServing: string;

  constructor(core: SpaceCore, feed: JobFollowers, commit: (work: (now: number) => void) => void) {
    this.core = core;
    this.feed = feed;
    this.commit = commit;
    this.lastServing = this.service();
  }

  announce(changes: readonly Change[]): void {
    this.scheduleStatus();
    const isQueueMoved = changes.some(
      ({ job, before }) => job.status === "queued" || before?.status === "queued",
    );
    if (isQueueMoved && this.feed.hasFollowers()) this.schedulePositions();
  }

  stop(): void {
    if (this.statusTimer !== null) clearTimeout(this.statusTimer);
    if (this.positionsTimer !== null) clearTimeout(this.positionsTimer);
  }

  /** A worker's coming and going is told at once, counts a little later. */
  private scheduleStatus(): void {
    const serving = this.service();
    if (serving !== this.lastServing) {
      this.lastServing = serving;
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
    return workers.map(({ attachment: { state } }) => `${state.generation} ${state.phase}`).join();
  }

  private schedulePositions(): void {
    this.positionsTimer ??= setTimeout(() => {
      this.positionsTimer = null;
      this.commit((now) => {
        for (const { ulid, position } of this.feed.takeMovedPositions()) {
          this.core.jobs.apply(ulid, { type: "position", position }, now);
        }
      });
    }, POSITIONS_EVERY_MS);
  }
}
