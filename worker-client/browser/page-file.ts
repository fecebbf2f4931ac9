import type { z } from "zod";
import type { workerFile } from "../../src/protocol/worker-frames.ts";
import { downloadFile, type Sha256 } from "../file-download.ts";
import type { FileContent, OpenedContent } from "../file-upload.ts";
import type { TransferOptions } from "../transfer.ts";

/** A file that was submitted with a job, in a page. It is fetched only when `download` is called. */
export interface PageFile {
  /** The form field in which the submitter sent it. */
  readonly field: string;
  /** The name that the submitter gave it; untrusted. */
  readonly name: string;
  readonly contentType: string;
  /** Bytes. */
  readonly size: number;
  /** Returns the whole file in memory. Goes on after breaks as long as the attempt is wanted. */
  download(): Promise<Uint8Array<ArrayBuffer>>;
}

export function pageFile(file: z.infer<typeof workerFile>, options: TransferOptions): PageFile {
  return {
    field: file.field.toWellFormed(),
    name: file.name.toWellFormed(),
    contentType: file.content_type,
    size: file.size,
    async download() {
      const content = new Uint8Array(file.size);
      let position = 0;
      const sink = {
        write(piece: Uint8Array) {
          content.set(piece, position);
          position += piece.byteLength;
        },
        restart() {
          position = 0;
        },
      };
      await downloadFile(file, options, sink, () => sha256Of(content));
      return content;
    },
  };
}

/**
 * Of the whole content once it is there: browsers can't add up a checksum piece by piece. They have none at all where
 * the page came over plain HTTP from another machine; then only the size is checked.
 */
function sha256Of(content: Uint8Array<ArrayBuffer>): Sha256 {
  return {
    update: () => undefined,
    async digest() {
      const digest = await digestOf(content);
      if (digest === null) return null;
      return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
  };
}

/** Opens what becomes an output file. @throws {TypeError} if it is a path: pages have none */
export async function openPageContent(content: FileContent): Promise<OpenedContent> {
  if (!(content instanceof Blob || content instanceof Uint8Array)) {
    throw new TypeError("A page can give bytes or a Blob as an output file, no path.");
  }
  const blob = content instanceof Blob ? content : new Blob([content.slice()]);
  return {
    size: blob.size,
    async sha256() {
      const digest = await digestOf(await blob.arrayBuffer());
      return digest === null ? null : btoa(String.fromCharCode(...digest));
    },
    body(onSent) {
      // Browsers neither show how much was sent, nor send a stream over HTTP/1.1.
      onSent(blob.size);
      return { body: blob };
    },
  };
}

async function digestOf(bytes: BufferSource): Promise<Uint8Array | null> {
  if (globalThis.crypto?.subtle === undefined) return null;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}
