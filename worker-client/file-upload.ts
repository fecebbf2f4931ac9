import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
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

/** How many bytes are handed to the connection at once. */
const PIECE_BYTES = 65_536;
/** An answer may take longer than the bytes: the edge stores them. Milliseconds. */
const ANSWER_MS = 60_000;

/** The attempt is over. */
const GONE = 410;

/** Where the bytes of a file come from; they may be read several times. */
interface Source {
  size: number;
  read(): AsyncIterable<Uint8Array>;
}

async function sourceOf(content: FileContent): Promise<Source> {
  if (content instanceof Uint8Array)
    return { size: content.byteLength, read: () => pieces(content) };
  if (content instanceof Blob) return { size: content.size, read: () => content.stream() };
  const { path } = content;
  return { size: (await stat(path)).size, read: () => createReadStream(path) };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES)
    yield bytes.subarray(at, at + PIECE_BYTES);
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
): Promise<OutputFile> {
  checkOutputName(name);
  const source = await sourceOf(content);
  const upload = new Upload(name, source, contentType, options);
  return upload.run();
}

class Upload {
  private readonly name: string;
  private readonly source: Source;
  private readonly contentType: string;
  private readonly options: TransferOptions;
  private readonly tries: Tries;
  /** How many bytes the connection has taken. */
  private sent = 0;

  constructor(
    name: string,
    source: Source,
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
    const digest = await this.digest();
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

  private async digest(): Promise<string> {
    const hash = createHash("sha256");
    for await (const piece of this.source.read()) {
      this.options.signal.throwIfAborted();
      hash.update(piece);
    }
    return hash.digest("base64");
  }

  private async send(digest: string): Promise<UploadedFile> {
    const { signal, edgeUrl, url, stallMs } = this.options;
    const stall = new StallTimer(stallMs);
    this.sent = 0;
    try {
      // Node.js needs `duplex` for a body that is a stream; the types of the web don't know it.
      const init: RequestInit & { duplex: "half" } = {
        method: "PUT",
        headers: {
          "content-type": this.contentType,
          "content-length": String(this.source.size),
          "repr-digest": `sha-256=:${digest}:`,
        },
        body: Readable.toWeb(Readable.from(this.progress(stall))) as RequestInit["body"],
        duplex: "half",
        signal: AbortSignal.any([signal, stall.signal]),
      };
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

  /** The bytes, as the connection takes them. */
  private async *progress(stall: StallTimer): AsyncGenerator<Uint8Array> {
    for await (const piece of this.source.read()) {
      yield piece;
      stall.restart();
      this.sent += piece.byteLength;
    }
    stall.restart(ANSWER_MS);
  }
}
