import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { z } from "zod";
import { shortenName } from "../src/protocol/file-name.ts";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import { type Backoff, backoffMs } from "./backoff.ts";
import { JobFailure } from "./failure.ts";
import type { Log } from "./log.ts";
import { count } from "./statistics.ts";

/** How a file is fetched. */
export interface DownloadOptions {
  /** The edge's address; a file's own address may be relative to it. */
  edgeUrl: string;
  /** The file's address as it is now: a worker that is resumed gets another one (W26c). */
  url: () => string;
  /** When the attempt is taken back, milliseconds since 1970; `null` while the edge can't be reached (W26b). */
  deadlineAt: () => number | null;
  /** Aborted once the attempt is no longer wanted. */
  signal: AbortSignal;
  log: Log;
  /** A connection on which nothing comes for this long is given up, milliseconds. */
  stallMs?: number;
  backoff?: Backoff;
}

/** Where the bytes of a file go. An error here ends the download: fetching them again would not help. */
export interface FileSink {
  write(piece: Uint8Array): Promise<void> | void;
  /** What was written is wrong, and everything comes again. */
  restart(): Promise<void> | void;
}

const STALL_MS = 20_000;
/**
 * A try that would begin less than this before the deadline isn't made, milliseconds: so whoever submitted learns
 * what was wrong with the file, and not only that the time was over.
 */
const LAST_WORDS_MS = 3_000;
const RETRY: Backoff = { firstMs: 500, capMs: 10_000 };
/** How often a file whose checksum is wrong is fetched. */
const WHOLE_TRIES = 3;
/** A 403 is asked again for so long: a worker that reconnects gets a new address within this time, milliseconds. */
const RENEWAL_MS = 15_000;
/** Another answer than the edge's own is asked again for so long: a proxy says 404 while the edge restarts. */
const PROXY_MS = 2_000;
/** Statuses below 500 after which another try may succeed. */
const TEMPORARY = new Set([408, 425, 429]);

type WorkerFile = z.infer<typeof workerFile>;

/**
 * Fetches a file. A connection that breaks or stalls is made again, and goes on where the last one ended, as long
 * as the attempt is wanted.
 *
 * @throws {JobFailure} if the edge refuses the file, or has another one than it announced
 */
export async function downloadFile(
  file: WorkerFile,
  options: DownloadOptions,
  sink: FileSink,
): Promise<void> {
  const download = new Download(file, options);
  for (let tries = 1; ; tries += 1) {
    for await (const piece of download.pieces()) await sink.write(piece);
    if (download.isIntact) return;
    if (tries === WHOLE_TRIES) throw download.failure("its checksum is wrong");
    options.log.warn(`${download.name}: its checksum is wrong, and it is fetched again`);
    await sink.restart();
    download.restart();
  }
}

/** A try failed, but another one may succeed. */
class Interrupted extends Error {}

class Download {
  readonly name: string;
  private readonly file: WorkerFile;
  private readonly options: DownloadOptions;
  private hash = createHash("sha256");
  private received = 0;
  /** Names the content, so that the rest of another file is never taken for the rest of this one. */
  private etag: string | null = null;
  /** Since when the file has been refused without a byte in between, milliseconds; `null` if it is not. */
  private refusedSince: number | null = null;

  constructor(file: WorkerFile, options: DownloadOptions) {
    this.file = file;
    this.options = options;
    this.name = `the file ${JSON.stringify(shortenName(file.name, 200))}`;
  }

  /** Whether the bytes are those that the edge announced; an older edge announces no checksum. */
  get isIntact(): boolean {
    const { sha256 } = this.file;
    return sha256 === undefined || this.hash.copy().digest("hex") === sha256;
  }

  restart(): void {
    this.hash = createHash("sha256");
    this.received = 0;
    this.etag = null;
  }

  failure(why: string): JobFailure {
    const text = `${this.name[0]?.toUpperCase()}${this.name.slice(1)} could not be fetched: ${why}.`;
    return new JobFailure("worker_error", text, true);
  }

  /** Yields the bytes that are still missing, over as many connections as it takes. */
  async *pieces(): AsyncGenerator<Uint8Array> {
    for (let failures = 0; ; ) {
      const before = this.received;
      try {
        yield* this.receive();
        if (this.received === this.file.size) return;
        throw this.shortfall(before);
      } catch (error) {
        if (this.received === this.file.size && this.received > 0) return;
        failures = this.received > before ? 1 : failures + 1;
        await this.waitAfter(error, failures);
      }
    }
  }

  /** Waits before the next try, unless there can't be one: then throws why. */
  private async waitAfter(error: unknown, failures: number): Promise<void> {
    const { signal, log, deadlineAt, backoff = RETRY } = this.options;
    const state = `${count(this.received)} of ${count(this.file.size)} bytes came`;
    if (!signal.aborted) {
      if (error instanceof JobFailure) throw error;
      log.warn(`${this.name}: ${describe(error)}; ${state}, going on`);
      const delayMs = backoffMs(failures - 1, 0.5 + Math.random() / 2, backoff);
      const leftMs = (deadlineAt() ?? Number.POSITIVE_INFINITY) - Date.now() - LAST_WORDS_MS;
      if (delayMs > leftMs) throw this.failure(`${describe(error)}; ${state} before the deadline`);
      await pause(delayMs, null, { signal }).catch(() => undefined);
    }
    if (signal.aborted) log.warn(`${this.name}: ${state} before the attempt was given up`);
    signal.throwIfAborted();
  }

  /** Yields what one connection brings; throws `Interrupted` or what `fetch` throws if it may be tried again. */
  private async *receive(): AsyncGenerator<Uint8Array> {
    const { signal, edgeUrl, url, stallMs = STALL_MS } = this.options;
    const stall = new StallTimer(stallMs);
    try {
      const answer = await fetch(new URL(url(), edgeUrl), {
        headers: { "accept-encoding": "identity", ...this.rangeHeaders() },
        signal: AbortSignal.any([signal, stall.signal]),
      });
      let skip = await this.skipFor(answer);
      for await (const bytes of answer.body ?? []) {
        stall.restart();
        const piece = bytes.subarray(Math.min(skip, bytes.byteLength));
        skip -= bytes.byteLength - piece.byteLength;
        if (piece.byteLength === 0) continue;
        if (this.received + piece.byteLength > this.file.size) throw this.wrongSize("more came");
        this.received += piece.byteLength;
        this.refusedSince = null;
        this.hash.update(piece);
        yield piece;
      }
    } catch (error) {
      if (stall.signal.aborted) throw new Interrupted(`nothing came for ${stallMs / 1_000} s`);
      throw error;
    } finally {
      stall.stop();
    }
  }

  private rangeHeaders(): Record<string, string> {
    if (this.received === 0) return {};
    const since = { range: `bytes=${this.received}-` };
    // A weak one never matches, so the whole file would come every time.
    const isStrong = this.etag?.startsWith('"');
    return this.etag !== null && isStrong ? { ...since, "if-range": this.etag } : since;
  }

  /**
   * How many bytes of an answer are known already: all of them, if the whole file came instead of its rest.
   *
   * @throws if the answer is none with bytes of the file
   */
  private async skipFor(answer: Response): Promise<number> {
    if (answer.status === 206) {
      const start = /^bytes (\d+)-/.exec(answer.headers.get("content-range") ?? "")?.[1];
      if (Number(start) === this.received) return 0;
      throw new Interrupted("another part came than was asked for");
    }
    if (answer.status !== 200) throw await this.refusal(answer);
    this.etag = answer.headers.get("etag");
    return this.received;
  }

  private async refusal(answer: Response): Promise<Error> {
    const { status } = answer;
    const text = (await answer.text()).slice(0, 10_000);
    const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
    const detail = isProblem ? `: ${detailOf(text)}` : "";
    const why = `the edge answered with status ${status}${detail}`.replace(/\.+$/, "");
    if (status >= 500 || TEMPORARY.has(status)) return new Interrupted(why);
    const patience = isProblem ? (status === 403 ? RENEWAL_MS : 0) : PROXY_MS;
    this.refusedSince ??= performance.now();
    const isOver = performance.now() - this.refusedSince >= patience;
    return isOver ? this.failure(why) : new Interrupted(why);
  }

  /** The answer ended well, but before the file did: if it brought anything, a proxy may have cut it. */
  private shortfall(before: number): Error {
    const came = `${count(this.received)} came`;
    return this.received > before ? new Interrupted(came) : this.wrongSize(came);
  }

  private wrongSize(came: string): JobFailure {
    return this.failure(`it should have ${count(this.file.size)} bytes, ${came}`);
  }
}

/** Aborts its signal when it has not been restarted for some time. */
class StallTimer {
  private readonly controller = new AbortController();
  private readonly timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.timer = setTimeout(() => this.controller.abort(), ms);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  restart(): void {
    this.timer.refresh();
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

function detailOf(problem: string): string {
  try {
    const { detail } = JSON.parse(problem);
    return String(detail).slice(0, 300);
  } catch {
    return "no reason given";
  }
}

/** `fetch` says only "fetch failed" or "terminated" by itself; what failed is the cause. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
