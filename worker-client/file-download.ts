import { createHash } from "node:crypto";
import type { z } from "zod";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import type { JobFailure } from "./failure.ts";
import { count } from "./statistics.ts";
import { Interrupted, StallTimer, type TransferOptions, Tries } from "./transfer.ts";

/** Where the bytes of a file go. An error here ends the download: fetching them again would not help. */
export interface FileSink {
  write(piece: Uint8Array): Promise<void> | void;
  /** What was written is wrong, and everything comes again. */
  restart(): Promise<void> | void;
}

/** How often a file whose checksum is wrong is fetched. */
const WHOLE_TRIES = 3;

type WorkerFile = z.infer<typeof workerFile>;

/**
 * Fetches a file. A connection that breaks or stalls is made again, and goes on where the last one ended, as long
 * as the attempt is wanted.
 *
 * @throws {JobFailure} if the edge refuses the file, or has another one than it announced
 */
export async function downloadFile(
  file: WorkerFile,
  options: TransferOptions,
  sink: FileSink,
): Promise<void> {
  const download = new Download(file, options);
  for (let tries = 1; ; tries += 1) {
    for await (const piece of download.pieces()) await sink.write(piece);
    if (download.isIntact) return;
    if (tries === WHOLE_TRIES) throw download.tries.failure("its checksum is wrong");
    options.log.warn(`${download.tries.name}: its checksum is wrong, and it is fetched again`);
    await sink.restart();
    download.restart();
  }
}

class Download {
  readonly tries: Tries;
  private readonly file: WorkerFile;
  private readonly options: TransferOptions;
  private hash = createHash("sha256");
  private received = 0;
  /** Names the content, so that the rest of another file is never taken for the rest of this one. */
  private etag: string | null = null;

  constructor(file: WorkerFile, options: TransferOptions) {
    this.file = file;
    this.options = options;
    this.tries = new Tries(file.name, "fetched", options);
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
        const state = `${count(this.received)} of ${count(this.file.size)} bytes came`;
        await this.tries.waitAfter(error, failures, state);
      }
    }
  }

  /** Yields what one connection brings; throws `Interrupted` or what `fetch` throws if it may be tried again. */
  private async *receive(): AsyncGenerator<Uint8Array> {
    const { signal, edgeUrl, url, stallMs } = this.options;
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
        this.tries.onProgress();
        this.hash.update(piece);
        yield piece;
      }
    } catch (error) {
      if (stall.signal.aborted) throw new Interrupted(`nothing came for ${stall.ms / 1_000} s`);
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
    if (answer.status !== 200) throw await this.tries.refusalOf(answer, true);
    this.etag = answer.headers.get("etag");
    return this.received;
  }

  /** The answer ended well, but before the file did: if it brought anything, a proxy may have cut it. */
  private shortfall(before: number): Error {
    const came = `${count(this.received)} came`;
    return this.received > before ? new Interrupted(came) : this.wrongSize(came);
  }

  private wrongSize(came: string): JobFailure {
    return this.tries.failure(`it should have ${count(this.file.size)} bytes, ${came}`);
  }
}
