import { parsePosition, recover } from "../../src/channel/position.ts";
import type { DialoutError } from "../../src/client/errors.ts";
import { FollowedJobs, type JobSubscriber } from "../../src/client/followed-jobs.ts";
import {
  cursorAt,
  type JobCursor,
  type JobEvent,
  readJobFrame,
  resumeFrom,
} from "../../src/client/job-channel.ts";
import {
  type ServerFrame,
  type SpaceClientFrameInput,
  serverFrame,
} from "../../src/protocol/subscriber-frames.ts";
import type { Frame } from "../support/fake-subscriber-edge.ts";
import { completed, connection, gap, output, progress } from "./jobs.ts";

/** A local follower as the client has it: it reads the frames that it is passed with a cursor of its own. */
export class ModelFollower implements JobSubscriber {
  readonly job: number;
  /** The last event when it began to follow: what comes after is its to have. */
  readonly from: number;
  cursor: JobCursor = cursorAt(null);
  told: JobEvent[] = [];
  refusal: DialoutError | null = null;
  isGone = false;

  constructor(job: number, from: number) {
    this.job = job;
    this.from = from;
  }

  get since(): string | null {
    return resumeFrom(this.cursor);
  }

  onFrame(frame: Parameters<JobSubscriber["onFrame"]>[0]): void {
    const { cursor, events } = readJobFrame(this.cursor, frame);
    this.cursor = cursor;
    this.told.push(...events);
  }

  onDisconnect(): void {}

  onRefused(error: DialoutError): void {
    this.refusal = error;
  }
}

interface Log {
  frames: Frame[];
  trimmedTo: number;
  isOver: boolean;
  isErased: boolean;
}

/** Models the jobs of a space at the edge, one socket to it, and a network that delivers on demand in each direction. */
export class SpaceModel {
  readonly logs: Log[];
  readonly followers: ModelFollower[] = [];
  /** How many `follow` frames the client has sent. */
  follows = 0;
  private readonly limit: number;
  private followed = new Set<number>();
  private asked: SpaceClientFrameInput[] = [];
  private inFlight: Frame[] = [];
  private isUp = false;
  readonly jobs = new FollowedJobs((frames) => {
    this.follows += frames.filter(({ type }) => type === "follow").length;
    if (this.isUp) this.asked.push(...frames);
  });

  /** @param limit how many jobs the edge lets a socket follow */
  constructor(jobs: number, limit: number) {
    this.limit = limit;
    this.logs = Array.from({ length: jobs }, () => ({
      frames: [],
      trimmedTo: 0,
      isOver: false,
      isErased: false,
    }));
  }

  follow(job: number): void {
    const follower = new ModelFollower(job, this.logOf(job).frames.length);
    this.followers.push(follower);
    this.jobs.add(idOf(job), follower);
  }

  unfollow(index: number): void {
    const follower = this.followers[index % Math.max(this.followers.length, 1)];
    if (follower === undefined) return;
    follower.isGone = true;
    this.jobs.remove(idOf(follower.job), follower);
  }

  publish(job: number, kind: "output" | "progress" | "end"): void {
    const log = this.logOf(job);
    if (log.isOver) return;
    const offset = log.frames.length + 1;
    const frames = {
      output: output(offset, `#${offset}`),
      progress: progress(offset),
      end: completed(offset, "done"),
    };
    const frame = { ...frames[kind], job_id: idOf(job) };
    log.frames.push(frame);
    if (this.followed.has(job)) this.inFlight.push(frame);
    if (kind !== "end") return;
    log.isOver = true;
    this.followed.delete(job);
  }

  trim(job: number, share: number): void {
    const log = this.logOf(job);
    // The end is always kept.
    const most = log.isOver ? log.frames.length - 1 : log.frames.length;
    log.trimmedTo = Math.max(log.trimmedTo, Math.floor(most * share));
  }

  erase(job: number): void {
    const log = this.logOf(job);
    if (log.isOver) log.isErased = true;
  }

  up(): void {
    if (this.isUp) return;
    this.isUp = true;
    this.jobs.onConnect();
  }

  down(): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.asked = [];
    this.inFlight = [];
    this.followed.clear();
    this.jobs.onDisconnect(null);
  }

  /** The edge reads what the client sent. */
  serve(count: number): void {
    for (const frame of this.asked.splice(0, count)) {
      if (frame.type === "unfollow") this.followed.delete(jobOf(frame.job_id));
      if (frame.type === "follow") this.answer(frame);
    }
  }

  deliver(count: number): void {
    for (const frame of this.inFlight.splice(0, count)) this.pass(serverFrame.parse(frame));
  }

  finish(): void {
    for (const [job, log] of this.logs.entries()) if (!log.isErased) this.publish(job, "end");
    this.up();
    this.serve(Number.POSITIVE_INFINITY);
    this.deliver(Number.POSITIVE_INFINITY);
  }

  private pass(frame: ServerFrame): void {
    if (frame.type === "error") this.jobs.onError(frame);
    else if (frame.type !== "accepted" && frame.type !== "space.status")
      this.jobs.onFrame(frame.job_id ?? "", frame);
  }

  private answer(frame: Extract<SpaceClientFrameInput, { type: "follow" }>): void {
    const { job_id, ref } = frame;
    const job = jobOf(job_id);
    const log = this.logOf(job);
    const code = log.isErased
      ? "job_not_found"
      : !this.followed.has(job) && this.followed.size >= this.limit
        ? "too_many_follows"
        : null;
    if (code !== null) {
      this.inFlight.push({ type: "error", code, message: "No.", error: "No.", job_id, ref });
      return;
    }
    const last = log.frames.length;
    const since = parsePosition(frame.since);
    const recovery = recover(since, { epoch: "e", last, first: log.trimmedTo + 1 });
    const after = recovery.recovered ? recovery.after : last;
    const missed = recovery.recovered ? log.frames.slice(after) : snapshotOf(log);
    const opening = [connection(after, recovery.recovered), ...missed];
    this.inFlight.push(...opening.map((sent) => ({ ...sent, job_id })));
    if (!log.isOver) this.followed.add(job);
  }

  private logOf(job: number): Log {
    const log = this.logs[job];
    if (log === undefined) throw new Error(`no job ${job}`);
    return log;
  }
}

function snapshotOf({ frames, trimmedTo }: Log): Frame[] {
  const state = frames.at(-1)?.type === "progress" ? frames.at(-1) : undefined;
  return [
    ...(trimmedTo > 0 ? [gap(trimmedTo)] : []),
    ...frames.slice(trimmedTo).filter(({ type }) => type === "output"),
    { ...(state ?? progress(frames.length)), offset: frames.length },
  ];
}

export function idOf(job: number): string {
  return `demo.${String(job).padStart(26, "0")}`;
}

function jobOf(id: string): number {
  return Number(id.split(".")[1]);
}
