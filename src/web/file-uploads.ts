import type { UploadedFile } from "../client/file-upload.ts";
import type { SpaceHandle } from "../client/space-handle.ts";
import type { SubmitFiles } from "../client/submit-form.ts";
import { uploadsTo } from "./page-space.ts";
import { UploadMemory, type UploadStorage } from "./upload-memory.ts";

/** Files of more bytes together are uploaded before the submit, so that a break doesn't begin them anew. */
export const RESUMABLE_FROM = 5_000_000;

/** A file and the form field that it is for. */
export interface ChosenFile {
  field: string;
  file: File;
}

/** A file that is being uploaded, as the page shows it. */
export interface ShownUpload {
  id: number;
  name: string;
  /** Bytes on the edge, or on their way to it. */
  sent: number;
  size: number;
  state: "waiting" | "sending" | "paused" | "done";
  /** Why nothing is sent at the moment; `null` if there is no trouble. */
  trouble: string | null;
}

interface Running {
  shown: ShownUpload;
  /** Aborts the sending while the user pauses it. */
  pause: AbortController;
  /** Resolves when the user lets it go on. */
  goOn: { promise: Promise<void>; resolve: () => void } | null;
}

/** Uploads the large files of a submit, one after the other, with pauses, and after a reload from where they were. */
export class FileUploads {
  private readonly space: string;
  private readonly memory: UploadMemory;
  private readonly listeners = new Set<() => void>();
  private running: Running[] = [];
  private ids = 0;

  constructor(space: string, storage: UploadStorage) {
    this.space = space;
    this.memory = new UploadMemory(storage, space);
  }

  get shown(): readonly ShownUpload[] {
    return this.running.map(({ shown }) => shown);
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Returns what to submit: the files themselves if they are small, otherwise their uploads once they are complete.
   *
   * @throws {DialoutError} if the edge refuses a file
   */
  async prepare(files: readonly ChosenFile[], stop: AbortSignal): Promise<SubmitFiles> {
    const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
    if (bytes <= RESUMABLE_FROM) return byField(files);
    this.running = files.map(({ file }) => this.newRun(file));
    this.notify();
    try {
      const uploaded: { field: string; file: UploadedFile }[] = [];
      for (const [index, { field, file }] of files.entries()) {
        const run = this.running[index];
        if (run) uploaded.push({ field, file: await this.upload(run, { field, file }, stop) });
      }
      return byField(uploaded);
    } catch (error) {
      this.clear();
      throw error;
    }
  }

  /** Call this if a job has the files, so that the next one gets uploads of its own. */
  forget(files: readonly ChosenFile[]): void {
    for (const { file } of files) this.memory.forget(file);
    this.clear();
  }

  /** Shows none any more. If the job was refused, the uploads themselves stay for the next try. */
  clear(): void {
    this.running = [];
    this.notify();
  }

  pause(id: number): void {
    const run = this.running.find(({ shown }) => shown.id === id);
    if (!run || run.goOn !== null || run.shown.state === "done") return;
    run.goOn = Promise.withResolvers<void>();
    run.pause.abort();
    this.change(run, { state: "paused", trouble: null });
  }

  resume(id: number): void {
    const run = this.running.find(({ shown }) => shown.id === id);
    const goOn = run?.goOn;
    if (!run || !goOn) return;
    run.goOn = null;
    run.pause = new AbortController();
    this.change(run, { state: "waiting" });
    goOn.resolve();
  }

  private async upload(
    run: Running,
    { field, file }: ChosenFile,
    stop: AbortSignal,
  ): Promise<UploadedFile> {
    for (;;) {
      await this.whilePaused(run, stop);
      const { pause } = run;
      try {
        const uploaded = await this.send(
          run,
          { field, file },
          AbortSignal.any([pause.signal, stop]),
        );
        this.change(run, { state: "done", sent: file.size, trouble: null });
        return uploaded;
      } catch (error) {
        stop.throwIfAborted();
        if (!pause.signal.aborted) throw error;
      }
    }
  }

  private send(run: Running, { field, file }: ChosenFile, signal: AbortSignal) {
    const known = this.memory.recall(file);
    let stored = run.shown.sent;
    const onSent = (bytes: number) =>
      this.change(run, { sent: Math.min(file.size, stored + bytes) });
    this.change(run, { state: "sending" });
    return this.handleFor(onSent).upload(file, {
      field,
      signal,
      timeout: Number.POSITIVE_INFINITY,
      ...(known === null ? {} : { resume: known }),
      onProgress: ({ sent, upload }) => {
        stored = sent;
        this.memory.remember(file, upload);
        this.change(run, { sent, trouble: null });
      },
      onSending: (sending) => {
        if (sending.state === "waiting") this.change(run, { trouble: sending.error.message });
      },
    });
  }

  private handleFor(onSent: (bytes: number) => void): SpaceHandle {
    return uploadsTo(this.space, onSent);
  }

  private async whilePaused({ goOn }: Running, stop: AbortSignal): Promise<void> {
    if (goOn === null) return;
    const stopped = Promise.withResolvers<never>();
    const onStop = () => stopped.reject(stop.reason);
    stop.addEventListener("abort", onStop, { once: true });
    try {
      await Promise.race([goOn.promise, stopped.promise]);
    } finally {
      stop.removeEventListener("abort", onStop);
    }
  }

  private newRun({ name, size }: File): Running {
    this.ids += 1;
    const shown = { id: this.ids, name, size, sent: 0, state: "waiting", trouble: null } as const;
    return { shown, pause: new AbortController(), goOn: null };
  }

  private change(run: Running, changed: Partial<ShownUpload>): void {
    run.shown = { ...run.shown, ...changed };
    this.notify();
  }

  private notify(): void {
    for (const listener of this.listeners) listener();
  }
}

/** Files of one field stay in their order. */
function byField<T>(files: readonly { field: string; file: T }[]): Record<string, T[]> {
  const grouped = Map.groupBy(files, ({ field }) => field);
  return Object.fromEntries(
    [...grouped].map(([field, list]) => [field, list.map(({ file }) => file)]),
  );
}
