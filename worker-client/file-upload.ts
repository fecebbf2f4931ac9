import { LIMITS } from "../src/protocol/limits.ts";
import {
  outputName,
  type UploadedFile,
  uploadedFile,
  uploadUrl,
} from "../src/protocol/output-files.ts";
import { JobFailure } from "./failure.ts";
import { count } from "./statistics.ts";
import { Interrupted, quoted, StallTimer, type TransferOptions, Tries } from "./transfer.ts";

/** What a file has in it: bytes, a `Blob`, or the content of the file at a path of this machine. */
export type FileContent = Uint8Array | Blob | { path: string };

export interface FileOptions {
  /** Such as `image/png`. The edge looks at the bytes, and keeps this only if they fit. */
  contentType?: string;
  /** The file only shows how far the work is: the next preview takes its place, and it ends with the job. */
  preview?: boolean;
  /** Whether those who follow the job are told of it now; if not, it is told with the result. */
  tell?: boolean;
}

/** A file as the edge has stored it. */
export interface OutputFile {
  name: string;
  /** As the bytes show it, which is not always what was declared. */
  contentType: string;
  /** Bytes. */
  size: number;
  /** Of the content, in hexadecimal digits. */
  sha256: string;
}

/** An answer may take longer than the bytes: the edge stores them. Milliseconds. */
const ANSWER_MS = 60_000;

/** The attempt is over. */
const GONE = 410;

/** The bytes of a file that is sent; they may be read several times. */
export interface OpenedContent {
  size: number;
  /** Their SHA-256 in base64; `null` if it can't be known here. */
  sha256(signal: AbortSignal): Promise<string | null>;
  /**
   * The body of a request, and what else `fetch` needs for it.
   *
   * @param onSent to be called with the number of bytes that the connection has taken; platforms that can't see that
   * call it once with all of them
   */
  body(onSent: (bytes: number) => void): Pick<RequestInit, "body"> & { duplex?: "half" };
}

/** @throws {JobFailure} if no file may have this name */
export function checkOutputName(name: string): void {
  const checked = outputName.safeParse(name);
  if (checked.success) return;
  const why = checked.error.issues[0]?.message ?? "can't be used";
  throw new JobFailure(
    "worker_error",
    `The name of an output file ${why}, not ${quoted(String(name))}.`,
  );
}

/**
 * Sends a file to the edge. A connection that breaks or stalls is made again, as long as the attempt is wanted.
 *
 * @throws {JobFailure} if the edge refuses the file
 */
export async function uploadFile(
  name: string,
  content: FileContent,
  contentType: string | undefined,
  options: TransferOptions,
  open: (content: FileContent) => Promise<OpenedContent>,
): Promise<OutputFile> {
  checkOutputName(name);
  const opened = await open(content);
  if (opened.size > LIMITS.outputFileBytes) {
    const text = `The file ${quoted(name)} has ${count(opened.size)} bytes; ${count(LIMITS.outputFileBytes)} may be sent.`;
    throw new JobFailure("worker_error", text);
  }
  return new Upload(name, opened, contentType, options).run();
}

class Upload {
  private readonly name: string;
  private readonly source: OpenedContent;
  private readonly contentType: string;
  private readonly options: TransferOptions;
  private readonly tries: Tries;
  /** How many bytes the connection has taken. */
  private sent = 0;

  constructor(
    name: string,
    source: OpenedContent,
    contentType: string | undefined,
    options: TransferOptions,
  ) {
    this.name = name;
    this.source = source;
    // Anything else can't be sent in a header.
    const isHeader = contentType !== undefined && /^[\x20-\x7e]{1,200}$/.test(contentType);
    this.contentType = isHeader ? contentType : "application/octet-stream";
    this.options = options;
    this.tries = new Tries(name, "sent", options);
  }

  async run(): Promise<OutputFile> {
    const digest = await this.source.sha256(this.options.signal);
    for (let failures = 0; ; ) {
      try {
        const { name, content_type, size, sha256 } = await this.send(digest);
        return { name, contentType: content_type, size, sha256 };
      } catch (error) {
        failures += 1;
        const state = `${count(this.sent)} of ${count(this.source.size)} bytes went`;
        await this.tries.waitAfter(error, failures, state);
      }
    }
  }

  private async send(digest: string | null): Promise<UploadedFile> {
    const { signal, edgeUrl, url, stallMs } = this.options;
    const stall = new StallTimer(stallMs);
    this.sent = 0;
    try {
      // Node.js needs `duplex` for a body that is a stream; the types of the web don't know it.
      const init: RequestInit & { duplex?: "half" } = {
        method: "PUT",
        headers: {
          "content-type": this.contentType,
          "content-length": String(this.source.size),
          ...(digest === null ? {} : { "repr-digest": `sha-256=:${digest}:` }),
        },
        ...this.source.body((bytes) => this.onSent(bytes, stall)),
        signal: AbortSignal.any([signal, stall.signal]),
      };
      if (this.source.size === 0) this.onSent(0, stall);
      const answer = await fetch(new URL(uploadUrl(url(), this.name), edgeUrl), init);
      if (!answer.ok) throw await this.tries.refusalOf(answer, answer.status === GONE);
      return uploadedFile.parse(await answer.json());
    } catch (error) {
      if (stall.signal.aborted) throw new Interrupted(`nothing went for ${stall.ms / 1_000} s`);
      throw error;
    } finally {
      stall.stop();
    }
  }

  /** Bytes are under way. All of them at once take as long as the slowest connection needs. */
  private onSent(bytes: number, stall: StallTimer): void {
    this.sent += bytes;
    const isAll = this.sent >= this.source.size;
    if (isAll) stall.restart(ANSWER_MS + (bytes / LIMITS.slowestBytesPerS) * 1_000);
    else stall.restart();
  }
}
