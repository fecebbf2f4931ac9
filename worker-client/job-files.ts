import { createHash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { z } from "zod";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import { downloadFile, type FileSink, type Sha256 } from "./file-download.ts";
import type { JobFile } from "./submitted-file.ts";
import type { TransferOptions } from "./transfer.ts";

export function jobFile(file: z.infer<typeof workerFile>, options: TransferOptions): JobFile {
  return {
    // Half a surrogate pair would stop a program in Python.
    field: file.field.toWellFormed(),
    name: file.name.toWellFormed(),
    contentType: file.content_type,
    size: file.size,
    async download() {
      let received: Uint8Array[] = [];
      const sink: FileSink = {
        write: (piece) => void received.push(piece),
        restart: () => {
          received = [];
        },
      };
      await downloadFile(file, options, sink, sha256);
      return Buffer.concat(received);
    },
    async save(path) {
      const handle = await open(path, "wx", 0o600);
      try {
        await downloadFile(file, options, new FileWriter(handle), sha256);
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      } finally {
        await handle.close();
      }
    },
  };
}

function sha256(): Sha256 {
  const hash = createHash("sha256");
  return {
    update: (piece) => void hash.update(piece),
    digest: async () => hash.copy().digest("hex"),
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
