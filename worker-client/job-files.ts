import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import type { z } from "zod";
import { shortenName } from "../src/protocol/file-name.ts";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import { JobFailure } from "./failure.ts";
import { count } from "./statistics.ts";

/** A file that was submitted with a job. It is fetched only when `download` or `save` is called. */
export interface JobFile {
  /** The form field in which the submitter sent it. */
  readonly field: string;
  /** The name that the submitter gave it; untrusted, so never use it as a path. */
  readonly name: string;
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Returns the whole file in memory. */
  download(): Promise<Buffer>;
  /** Writes the file to a new file at `path`; never overwrites an existing file. */
  save(path: string): Promise<void>;
}

export function jobFile(
  file: z.infer<typeof workerFile>,
  edgeUrl: string,
  signal: AbortSignal,
): JobFile {
  const pieces = () => fetchPieces(file, edgeUrl, signal);
  return {
    // Half a surrogate pair would stop a program in Python.
    field: file.field.toWellFormed(),
    name: file.name.toWellFormed(),
    contentType: file.content_type,
    size: file.size,
    async download() {
      const received: Uint8Array[] = [];
      for await (const piece of pieces()) received.push(piece);
      return Buffer.concat(received);
    },
    async save(path) {
      await pipeline(pieces, createWriteStream(path, { flags: "wx", mode: 0o600 }), { signal });
    },
  };
}

/** Yields the file's bytes; throws if there are more or fewer of them than the job announced. */
async function* fetchPieces(
  file: z.infer<typeof workerFile>,
  edgeUrl: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  try {
    const answer = await fetch(new URL(file.url, edgeUrl), { signal });
    if (!answer.ok) throw fetchFailure(file.name, `the edge answered with status ${answer.status}`);
    for await (const piece of answer.body ?? []) {
      received += piece.byteLength;
      if (received > file.size) break;
      yield piece;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof JobFailure) throw error;
    throw fetchFailure(file.name, error instanceof Error ? error.message : String(error));
  }
  if (received !== file.size) {
    const more = received > file.size ? "more came" : `${count(received)} came`;
    throw fetchFailure(file.name, `it should have ${count(file.size)} bytes, ${more}`);
  }
}

function fetchFailure(name: string, why: string): JobFailure {
  const shown = JSON.stringify(shortenName(name, 200));
  return new JobFailure("worker_error", `The file ${shown} could not be fetched: ${why}.`, true);
}
