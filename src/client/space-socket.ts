import { formatPosition, type Position } from "../channel/position.ts";
import { LIMITS } from "../protocol/limits.ts";
import { type SpaceStatus, spaceResource, spaceStatus } from "../protocol/resources.ts";
import {
  type ServerFrame,
  type SpaceClientFrameInput,
  serverFrame,
} from "../protocol/subscriber-frames.ts";
import { type Edge, segment } from "./edge.ts";
import { EdgeSocket, PROBE } from "./edge-socket.ts";
import { DialoutError } from "./errors.ts";
import { FollowedJobs, type JobSubscriber } from "./followed-jobs.ts";

/** One local follower of the space's status. */
export interface StatusSubscriber {
  onOpen(): void;
  onStatus(status: SpaceStatus): void;
  onDisconnect(error: DialoutError | null): void;
  onClose(error: DialoutError | null): void;
}

/** What a socket may send at once and each second; the edge allows twice as much (S20), also for pings and answers. */
const BURST = LIMITS.frameBurst / 2;
const FRAMES_PER_S = LIMITS.framesPerSecond / 2;

/** One socket of a space. It carries the space's status, and jobs, for all local followers. */
export class SpaceSocket {
  readonly #socket: EdgeSocket;
  readonly #onUnused: () => void;
  readonly #statuses = new Set<StatusSubscriber>();
  /** Those that were given no status yet. */
  readonly #unserved = new Set<StatusSubscriber>();
  readonly #jobs = new FollowedJobs((frames) => this.#send(frames));
  #isUp = false;
  /** The epoch of the space's channel, and what was received of it last. */
  #epoch = "";
  #last: Position | null = null;
  #status: SpaceStatus | null = null;
  #mayStillSend = BURST;
  #countedAt = Date.now();

  /** @param onUnused called when nobody uses the socket any more, or when it is closed for good */
  constructor(edge: Edge, name: string, onUnused: () => void) {
    const path = `/api/spaces/${segment(name)}`;
    const since = () => (this.#last === null ? null : formatPosition(this.#last));
    this.#onUnused = onUnused;
    this.#socket = new EdgeSocket(
      edge,
      {
        address: () => edge.socketAddress(`${path}/ws`, { since: since(), batch: "1" }),
        probe: () => edge.http.call({ path, ...PROBE }, spaceResource),
      },
      {
        onOpen: () => this.#onOpen(),
        onDisconnect: (error) => this.#onDisconnect(error),
        onFrame: (frame) => {
          const read = serverFrame.safeParse(frame);
          if (read.success) this.#onFrame(read.data);
        },
        onClose: (error) => this.#onClose(error),
      },
    );
  }

  /** Whether one more follower of the job stays within the edge's limits for a socket. */
  hasRoomFor(jobId: string): boolean {
    this.#refill();
    return this.#jobs.hasRoomFor(jobId) && this.#mayStillSend >= 1;
  }

  addStatus(subscriber: StatusSubscriber): void {
    this.#statuses.add(subscriber);
    this.#unserved.add(subscriber);
    // Later, because whoever begins to follow does not expect to be called before that has returned.
    queueMicrotask(() => {
      if (!this.#isUp || !this.#statuses.has(subscriber)) return;
      subscriber.onOpen();
      this.#serve();
    });
  }

  removeStatus(subscriber: StatusSubscriber): void {
    this.#statuses.delete(subscriber);
    this.#unserved.delete(subscriber);
    this.#closeIfUnused();
  }

  addJob(id: string, subscriber: JobSubscriber): void {
    this.#jobs.add(id, subscriber);
  }

  removeJob(id: string, subscriber: JobSubscriber): void {
    this.#jobs.remove(id, subscriber);
    this.#closeIfUnused();
  }

  #onOpen(): void {
    this.#isUp = true;
    this.#mayStillSend = BURST;
    for (const subscriber of [...this.#statuses]) subscriber.onOpen();
    this.#jobs.onConnect();
  }

  #onDisconnect(error: DialoutError | null): void {
    this.#isUp = false;
    for (const subscriber of [...this.#statuses]) subscriber.onDisconnect(error);
    this.#jobs.onDisconnect(error);
  }

  #onClose(error: DialoutError | null): void {
    this.#isUp = false;
    this.#onUnused();
    const statuses = [...this.#statuses];
    this.#statuses.clear();
    this.#unserved.clear();
    // Before the jobs: a page that ends with the space's status may end what it follows as well.
    for (const subscriber of statuses) subscriber.onClose(error);
    const reason = error ?? new DialoutError("connection_closed", "The edge closed the socket.");
    this.#jobs.onClose(reason);
  }

  #onFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case "connection":
        if (frame.job_id !== undefined) this.#jobs.onFrame(frame.job_id, frame);
        else this.#onConnection(frame);
        return;
      case "space.status":
        this.#onStatus(frame);
        return;
      case "progress":
      case "output":
      case "gap":
        this.#jobs.onFrame(frame.job_id, frame);
        return;
      case "error":
        this.#jobs.onError(frame);
        this.#closeIfUnused();
    }
  }

  /** After a reconnect the edge sends no status if the one that was received last is still true (S3a). */
  #onConnection({ epoch, recovered }: Extract<ServerFrame, { type: "connection" }>): void {
    this.#epoch = epoch;
    if (recovered) this.#serve();
  }

  #serve(): void {
    const status = this.#status;
    if (status === null) return;
    const unserved = [...this.#unserved];
    this.#unserved.clear();
    for (const subscriber of unserved) subscriber.onStatus(status);
  }

  /** Each status replaces the one before, so gaps don't matter. */
  #onStatus(frame: Extract<ServerFrame, { type: "space.status" }>): void {
    const { offset } = frame;
    if (this.#last?.epoch === this.#epoch && offset <= this.#last.offset) return;
    this.#last = { epoch: this.#epoch, offset };
    const status = spaceStatus.parse(frame);
    this.#status = status;
    this.#unserved.clear();
    for (const subscriber of [...this.#statuses]) subscriber.onStatus(status);
  }

  /** What can't be sent now is sent again with everything else, once the socket is open again. */
  #send(frames: SpaceClientFrameInput[]): void {
    const [only] = frames;
    if (only === undefined) return;
    this.#refill();
    this.#mayStillSend -= frames.length;
    this.#socket.send(frames.length === 1 ? only : { type: "batch", frames });
  }

  #refill(): void {
    const now = Date.now();
    const more = (Math.max(now - this.#countedAt, 0) / 1_000) * FRAMES_PER_S;
    this.#mayStillSend = Math.min(BURST, this.#mayStillSend + more);
    this.#countedAt = now;
  }

  #closeIfUnused(): void {
    if (this.#statuses.size > 0 || this.#jobs.size > 0) return;
    this.#isUp = false;
    this.#socket.close();
    this.#onUnused();
  }
}
