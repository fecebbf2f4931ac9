import { type FileHandle, open, rm } from "node:fs/promises";
import type { z } from "zod";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import { downloadFile, type FileSink } from "./file-download.ts";
import type { TransferOptions } from "./transfer.ts";

/** A file that was submitted with a job. It is fetched only when `download` or `save` is called. */
export interface JobFile {
  /** The form field in which the submitter sent it. */
  readonly field: string;
  /** The name that the submitter gave it; untrusted, so never use it as a path. */
  readonly name: string;
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Returns the whole file in memory. Goes on after breaks as long as the attempt is wanted. */
  download(): Promise<Buffer>;
  /** Writes the file to a new file at `path`; never overwrites an existing file, and leaves no part of one. */
  save(path: string): Promise<void>;
}

export function jobFile(file: z.infer<typeof workerFile>, options: TransferOptions): JobFile {
  return {
    // Half a surrogate pair would stop a program in Python.
    field: file.field.toWellFormed(),
    name: file.name.toWellFormed(),
    contentType: file.content_type,
    size: file.size,
    async download() {
      let received: Uint8Array[] = [];
      await downloadFile(file, options, {
        write: (piece) => void received.push(piece),
        restart: () => {
          received = [];
        },
      });
      return Buffer.concat(received);
    },
    async save(path) {
      const handle = await open(path, "wx", 0o600);
      try {
        await downloadFile(file, options, new FileWriter(handle));
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      } finally {
        await handle.close();
      }
    },
  };
}

class FileWriter implements FileSink {
  private readonly handle: FileHandle;
  private position = 0;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async write(piece: Uint8Array): Promise<void> {
    for (let done = 0; done < piece.byteLength; ) {
      const left = piece.byteLength - done;
      const { bytesWritten } = await this.handle.write(piece, done, left, this.position);
      done += bytesWritten;
      this.position += bytesWritten;
    }
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.position = 0;
  }
}
