import type { JsonObject } from "../protocol/codec.ts";
import type { JobResource } from "../protocol/resources.ts";
import type { ServerFrame } from "../protocol/subscriber-frames.ts";
import { jobId } from "../protocol/values.ts";
import {
  type CallResult,
  cancelJob,
  type FileAttachment,
  getJob,
  getSpace,
  submitJob,
  uploadJob,
} from "./api.ts";
import { checkDraft, type Draft, labelOfDraft } from "./draft.ts";
import { recallJobs, rememberJobs, type TabStorage } from "./job-memory.ts";
import {
  followsDue,
  initialState,
  type PageEvent,
  type PageState,
  reduce,
  spaceSince,
} from "./page-state.ts";
import { dialSpace, type SpaceSocket } from "./space-socket.ts";

/** Shortest time between two redraws, milliseconds: thousands of frames may arrive per second. */
const DRAW_MS = 30;

/** HTTP statuses after which a retry is pointless. */
const FINAL_STATUS = [401, 403, 404];

/** Updates the page's state from frames, answers and clicks, and performs the resulting requests. */
export class PageSession {
  state: PageState;
  readonly space: string;
  private readonly storage: TabStorage;
  private readonly listeners = new Set<() => void>();
  private socket: SpaceSocket | null = null;
  private drawTimer: number | null = null;
  private refs = 0;

  constructor(space: string, storage: TabStorage) {
    this.space = space;
    this.storage = storage;
    this.state = initialState(recallJobs(storage, space));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Loads the space first, so that a missing space is reported at once and no socket is opened. */
  async start(): Promise<void> {
    await this.loadSpace();
    if (this.state.space.kind === "unavailable") return;
    this.socket = dialSpace(this.space, () => spaceSince(this.state), {
      onOpen: () => this.onOpen(),
      onDisconnect: (neverOpened) => this.onDisconnect(neverOpened),
      onClose: (code, reason) => this.dispatch({ kind: "link.closed", code, reason }),
      onFrame: (frame) => this.onFrame(frame),
    });
    // These events report a network change at once; a silent socket would notice much later.
    addEventListener("online", () => this.onNetworkChange());
    addEventListener("offline", () => this.onNetworkChange());
  }

  redial(): void {
    if (this.state.space.kind !== "unavailable") this.socket?.redial();
  }

  /** Submits the form's content. If it can't be sent, the state contains the reason. */
  submit(prompt: string, attachments: FileAttachment[]): void {
    if (this.state.space.kind !== "ready" || this.state.submission.kind === "sending") return;
    const files = attachments.map(({ field, file }) => ({
      field,
      name: file.name,
      size: file.size,
    }));
    const draft = { prompt, files };
    const problem = checkDraft(draft, this.state.space.resource);
    if (problem !== null) this.dispatch({ kind: "submit.refused", ...problem });
    else if (attachments.length > 0)
      void this.sendByHttp(draft, () => uploadJob(this.space, prompt, attachments));
    else this.send(draft);
  }

  /** Removes a shown refusal, because it was about the form's earlier content. */
  draftChanged(): void {
    this.dispatch({ kind: "draft.changed" });
  }

  async cancel(id: string): Promise<void> {
    this.dispatch({ kind: "cancel.asked", id });
    const answer = await cancelJob(id);
    if (answer.ok) this.dispatch({ kind: "job.loaded", job: answer.value });
    else this.dispatch({ kind: "cancel.refused", id, message: answer.refusal.message });
  }

  /** Adds the job named in the address (`#job=<id>`), which this tab did not submit. */
  async attach(id: string): Promise<void> {
    if (!jobId.safeParse(id).success || id.split(".")[0] !== this.space) {
      const text = `“${id}” is not the id of a job of this space.`;
      return this.dispatch({ kind: "notice.added", text });
    }
    if (this.state.jobs.some((job) => job.id === id)) return;
    this.dispatch({ kind: "job.attached", job: { id, label: "" } });
    if (this.state.link.kind === "open") this.socket?.send({ type: "follow", job_id: id });
    const answer = await getJob(id);
    if (answer.ok) this.dispatch({ kind: "job.loaded", job: answer.value });
  }

  dismissJob(id: string): void {
    this.dispatch({ kind: "job.dismissed", id });
    if (this.state.link.kind === "open") this.socket?.send({ type: "unfollow", job_id: id });
  }

  dismissNotice(id: number): void {
    this.dispatch({ kind: "notice.dismissed", id });
  }

  /** Sends over the page's socket, or by a call of its own while the socket is not open. */
  private send(draft: Draft): void {
    const input: JsonObject = draft.prompt.trim() === "" ? {} : { prompt: draft.prompt };
    const ref = this.nextRef();
    const isSent =
      this.state.link.kind === "open" && this.socket?.send({ type: "submit", ref, input });
    if (isSent !== true) void this.sendByHttp(draft, () => submitJob(this.space, input));
    else this.dispatch({ kind: "submit.sent", ref, by: "socket", label: labelOfDraft(draft) });
  }

  private async sendByHttp(
    draft: Draft,
    call: () => Promise<CallResult<JobResource>>,
  ): Promise<void> {
    const ref = this.nextRef();
    this.dispatch({ kind: "submit.sent", ref, by: "http", label: labelOfDraft(draft) });
    const answer = await call();
    if (!answer.ok) return this.refused(ref, answer.refusal.code, answer.refusal.message);
    this.dispatch({ kind: "submit.answered", ref, job: answer.value });
    this.socket?.send({ type: "follow", job_id: answer.value.id });
  }

  private refused(ref: string, code: string, message: string): void {
    this.dispatch({ kind: "submit.refused", ref, code, message });
    // The space's settings have changed since the form was drawn.
    if (code.endsWith("_not_enabled")) void this.loadSpace();
  }

  private onOpen(): void {
    // The channel does not carry settings, and they may have changed during the disconnect.
    const wasAway = this.state.link.kind !== "connecting" || this.state.space.kind !== "ready";
    this.dispatch({ kind: "link.opened" });
    if (wasAway) void this.loadSpace();
    for (const follow of followsDue(this.state)) this.socket?.send(follow);
  }

  private onDisconnect(neverOpened: boolean): void {
    this.dispatch({ kind: "link.lost" });
    // Scripts don't learn why a handshake failed; loading the space shows whether it still exists.
    if (neverOpened && navigator.onLine) void this.loadSpace();
  }

  private onNetworkChange(): void {
    if (this.state.link.kind !== "closed") this.redial();
  }

  private onFrame(frame: ServerFrame): void {
    if (frame.type === "error" && frame.ref !== undefined) {
      this.refused(String(frame.ref), frame.code, frame.message);
    } else this.dispatch({ kind: "frame", frame });
  }

  private async loadSpace(): Promise<void> {
    const answer = await getSpace(this.space);
    if (answer.ok) return this.dispatch({ kind: "space.loaded", resource: answer.value });
    const { status, code, message } = answer.refusal;
    // An answer that is no problem (H2) comes from a proxy in between, and may be another one soon.
    if (status === null || !FINAL_STATUS.includes(status) || code === `http_${status}`) return;
    this.dispatch({ kind: "space.unavailable", message });
    this.socket?.close();
  }

  private dispatch(event: PageEvent): void {
    const before = this.state;
    this.state = reduce(before, event);
    if (this.state === before) return;
    if (this.state.jobs !== before.jobs) this.persist(before);
    this.drawTimer ??= setTimeout(() => this.draw(), DRAW_MS);
  }

  /** Writes only if the list of jobs or a label changed, not for every frame. */
  private persist(before: PageState): void {
    const same = (index: number) =>
      before.jobs[index]?.id === this.state.jobs[index]?.id &&
      before.jobs[index]?.label === this.state.jobs[index]?.label;
    const unchanged =
      before.jobs.length === this.state.jobs.length && this.state.jobs.every((_, i) => same(i));
    if (!unchanged) rememberJobs(this.storage, this.space, this.state.jobs);
  }

  private draw(): void {
    this.drawTimer = null;
    for (const listener of this.listeners) listener();
  }

  private nextRef(): string {
    this.refs += 1;
    return `page-${this.refs}`;
  }
}
