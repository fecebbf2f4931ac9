import { isFinal } from "../client/answer.ts";
import { asDialoutError, type DialoutError } from "../client/errors.ts";
import { freshId } from "../client/fresh-id.ts";
import type { JobEvent } from "../client/job-channel.ts";
import type { JobHandle } from "../client/job-handle.ts";
import type { SpaceHandle } from "../client/space-handle.ts";
import { spaceOf } from "../client/space-socket-pool.ts";
import type { Subscription } from "../client/subscription.ts";
import { sleep } from "../client/time-limit.ts";
import type { JsonObject } from "../protocol/codec.ts";
import { resultOf } from "./api.ts";
import { checkDraft, type Draft, type FileField, labelOfDraft } from "./draft.ts";
import { recallJobs, rememberJobs, type TabStorage } from "./job-memory.ts";
import { isTerminal, type TabJob } from "./job-state.ts";
import { spaceOfPage, uploadsTo } from "./page-space.ts";
import { initialState, LINK_VOID, type PageEvent, type PageState, reduce } from "./page-state.ts";

/** Shortest time between two redraws, milliseconds: thousands of frames may arrive per second. */
const DRAW_MS = 30;

/** Shortest time between two attempts to load the space after an answer that no retry is meant for. */
const RELOAD_MS = 5_000;

/** Shortest time between two requests for new addresses of a job's files. */
const RENEW_MS = 60_000;

export interface FileAttachment {
  field: FileField;
  file: File;
}

/** A submit as the form made it. It may be sent several times, but its key lets it create only one job. */
interface Submit {
  input: JsonObject;
  attachments: FileAttachment[];
  idempotencyKey: string;
}

/** Updates the page's state from events, answers and clicks, and performs the resulting requests. */
export class PageSession {
  state: PageState;
  readonly space: string;
  private readonly handle: SpaceHandle;
  private readonly storage: TabStorage;
  private readonly listeners = new Set<() => void>();
  /** What the page follows: the space's status, and each job that has not ended. All share one socket. */
  private watching: Subscription | null = null;
  private readonly following = new Map<string, Subscription>();
  /** When each job's files last got new addresses, milliseconds since 1970. */
  private readonly renewed = new Map<string, number>();
  private drawTimer: number | null = null;
  private refs = 0;
  /** The loading of the space that is under way; another one replaces it. */
  private loading: AbortController | null = null;
  private sending: AbortController | null = null;
  /** The last submit without an answer. If the same is submitted again, it must not become a second job. */
  private unanswered: Submit | null = null;

  constructor(space: string, storage: TabStorage) {
    this.space = space;
    this.handle = spaceOfPage(space);
    this.storage = storage;
    this.state = initialState(recallJobs(storage, space));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Loads the space first, so that a missing space is reported at once and no socket is opened. */
  async start(): Promise<void> {
    for (const job of this.state.jobs) if (job.share !== null) this.follow(job.id);
    await this.loadSpace();
    this.redial();
  }

  /** Opens the socket, also after the edge closed it for good. */
  redial(): void {
    if (this.state.space.kind === "unavailable") return;
    this.stopFollowing();
    const watching = this.handle.watch({
      onStatus: (status) => this.dispatch({ kind: "status", status }),
      onLink: (link, error) => {
        if (this.watching !== watching) return;
        if (link === "open") this.onOpen();
        else if (link === "closed") this.onClose(error);
        else this.dispatch({ kind: "link.lost", reason: error === null ? null : reasonOf(error) });
      },
    });
    this.watching = watching;
    for (const job of this.state.jobs) if (!isTerminal(job)) this.follow(job.id);
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
    else void this.send(draft, attachments);
  }

  /** Gives up the submit that has no answer yet. */
  stopSending(): void {
    this.sending?.abort();
  }

  /** Removes a shown refusal, because it was about the form's earlier content. */
  draftChanged(): void {
    this.dispatch({ kind: "draft.changed" });
  }

  async cancel(id: string): Promise<void> {
    this.dispatch({ kind: "cancel.asked", id });
    const answer = await resultOf(this.handle.job(id).cancel());
    if (answer.ok) this.dispatch({ kind: "job.loaded", job: answer.value });
    else this.dispatch({ kind: "cancel.refused", id, message: answer.error.message });
  }

  /**
   * Adds the job named in the address (`#job=<id>`), which this tab did not submit. `share` is the token of a link to it,
   * which is used only for a job that the visitor may not see without it.
   */
  async attach(id: string, share: string | null = null): Promise<void> {
    if (spaceOf(id) !== this.space) {
      const text = `“${id}” is not the id of a job of this space.`;
      return this.dispatch({ kind: "notice.added", text });
    }
    const known = this.jobOf(id);
    // A link that was made again replaces the one by which the job was opened.
    if (known !== undefined && (share === null || [null, share].includes(known.share))) return;
    if (known !== undefined) this.dismissJob(id);
    const isOwn = share === null || (await resultOf(this.handle.job(id).get())).ok;
    if (!isOwn && (await this.isVoid(id, share))) {
      return this.dispatch({ kind: "notice.added", text: LINK_VOID });
    }
    this.dispatch({ kind: "job.attached", job: { id, label: "", share: isOwn ? null : share } });
    this.follow(id);
    const answer = await resultOf(this.handleOf(id).get());
    if (answer.ok) this.dispatch({ kind: "job.loaded", job: answer.value });
  }

  private async isVoid(id: string, share: string): Promise<boolean> {
    const answer = await resultOf(this.handle.job(id, { share }).get());
    return !answer.ok && isFinal(answer.error);
  }

  /** Gets new addresses of a job's files, when one of them no longer holds; not again and again if that doesn't help. */
  async renewFiles(id: string): Promise<void> {
    if (Date.now() - (this.renewed.get(id) ?? 0) < RENEW_MS) return;
    this.renewed.set(id, Date.now());
    const answer = await resultOf(this.handleOf(id).get());
    if (answer.ok) this.dispatch({ kind: "job.loaded", job: answer.value });
  }

  private jobOf(id: string): TabJob | undefined {
    return this.state.jobs.find((job) => job.id === id);
  }

  private isShared(id: string): boolean {
    return (this.jobOf(id)?.share ?? null) !== null;
  }

  private handleOf(id: string): JobHandle {
    const share = this.jobOf(id)?.share ?? null;
    return this.handle.job(id, share === null ? {} : { share });
  }

  dismissJob(id: string): void {
    this.dispatch({ kind: "job.dismissed", id });
    this.following.get(id)?.close();
    this.following.delete(id);
  }

  dismissNotice(id: number): void {
    this.dispatch({ kind: "notice.dismissed", id });
  }

  /**
   * Submits by HTTP: an answer that was lost with a socket could not be asked for again, and a file can't be
   * sent over one.
   */
  private async send(draft: Draft, attachments: FileAttachment[]): Promise<void> {
    const input: JsonObject = draft.prompt.trim() === "" ? {} : { prompt: draft.prompt };
    const submit = this.withKey(input, attachments);
    const ref = this.nextRef();
    const stop = new AbortController();
    this.sending = stop;
    this.unanswered = submit;
    this.dispatch({ kind: "submit.sent", ref, label: labelOfDraft(draft) });
    const { idempotencyKey } = submit;
    const files = Object.fromEntries(attachments.map(({ field, file }) => [field, file]));
    const isUpload = attachments.length > 0;
    const handle = isUpload ? uploadsTo(this.space) : this.handle;
    const answer = await resultOf(
      handle.submit(input, {
        ...(isUpload ? { files } : {}),
        idempotencyKey,
        signal: stop.signal,
        timeout: Number.POSITIVE_INFINITY,
        onSending: (sending) => {
          if (sending.state === "sending") this.dispatch({ kind: "submit.repeated", ref });
          else this.dispatch({ kind: "submit.delayed", ref, trouble: reasonOf(sending.error) });
        },
      }),
    );
    if (stop.signal.aborted) return this.dispatch({ kind: "submit.stopped", ref });
    this.unanswered = null;
    if (!answer.ok) return this.refused(ref, answer.error);
    const { id } = answer.value;
    this.dispatch({ kind: "submit.answered", ref, id });
    this.follow(id);
  }

  private withKey(input: JsonObject, attachments: FileAttachment[]): Submit {
    const before = this.unanswered;
    const isSame =
      before !== null &&
      before.input.prompt === input.prompt &&
      before.attachments.length === attachments.length &&
      before.attachments.every(({ file }, index) => file === attachments[index]?.file);
    return isSame ? before : { input, attachments, idempotencyKey: freshId() };
  }

  private refused(ref: string, { code, message }: DialoutError): void {
    this.dispatch({ kind: "submit.refused", ref, code, message });
    // The space's settings have changed since the form was drawn.
    if (code.endsWith("_not_enabled")) void this.loadSpace();
  }

  private onOpen(): void {
    // The channel does not carry settings, and they may have changed during the disconnect.
    const wasAway = this.state.link.kind !== "connecting" || this.state.space.kind !== "ready";
    this.dispatch({ kind: "link.opened" });
    if (wasAway) void this.loadSpace();
  }

  private onClose(error: DialoutError | null): void {
    this.stopFollowing();
    // A reason with a status was given to a request for the space itself: there is nothing to show.
    if (error !== null && isFinal(error)) this.onUnavailable(error);
    else this.dispatch({ kind: "link.closed", error });
  }

  private onUnavailable({ code, message }: DialoutError): void {
    this.dispatch({ kind: "space.unavailable", code, message });
    this.loading?.abort();
    this.stopFollowing();
  }

  /**
   * Before the space is watched nothing is followed: it may not exist. A job that a link opens is, also in a space that
   * the visitor may not see.
   */
  private follow(id: string): void {
    const isShared = this.isShared(id);
    if ((this.watching === null && !isShared) || this.following.has(id)) return;
    const onEvent = (event: JobEvent) => this.dispatch({ kind: "job.event", id, event });
    const following = this.handleOf(id).follow({
      onProgress: onEvent,
      onOutput: onEvent,
      onFile: onEvent,
      onRestart: onEvent,
      onGap: onEvent,
      onError: ({ code, message }) => this.dispatch({ kind: "job.refused", id, code, message }),
    });
    this.following.set(id, following);
    void following.closed.then(() => {
      if (this.following.get(id) === following) this.following.delete(id);
    });
  }

  /** Jobs that a link opens have sockets of their own, which have nothing to do with the space's. */
  private stopFollowing(): void {
    const own = [...this.following].filter(([id]) => !this.isShared(id));
    const { watching } = this;
    this.watching = null;
    for (const [id] of own) this.following.delete(id);
    watching?.close();
    for (const [, subscription] of own) subscription.close();
  }

  /** Loads the space, for as long as it takes; only the edge's own refusal ends it. */
  private async loadSpace(): Promise<void> {
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    while (!loading.signal.aborted) {
      try {
        const resource = await this.handle.get({
          signal: loading.signal,
          timeout: Number.POSITIVE_INFINITY,
          onSending: (sending) => {
            if (sending.state !== "waiting") return;
            this.dispatch({ kind: "space.delayed", trouble: reasonOf(sending.error) });
          },
        });
        return this.dispatch({ kind: "space.loaded", resource });
      } catch (cause) {
        if (loading.signal.aborted) return;
        const error = asDialoutError(cause, "unreachable");
        if (isFinal(error)) return this.onUnavailable(error);
        this.dispatch({ kind: "space.delayed", trouble: reasonOf(error) });
        const wait = Math.max(RELOAD_MS, error.retryAfterMs ?? 0);
        await sleep(wait, loading.signal).catch(() => undefined);
      }
    }
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

/** Why the page waits, in words. What isn't about the way to the edge has words of its own. */
function reasonOf({ code, message }: DialoutError): string {
  return code === "unreachable" || code === "timed_out" ? "The edge can't be reached." : message;
}
