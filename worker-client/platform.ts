import type { z } from "zod";
import type { workerFile } from "../src/protocol/worker-frames.ts";
import type { FileContent, OpenedContent } from "./file-upload.ts";
import type { LinkTarget } from "./link.ts";
import type { LinkClose } from "./refusal.ts";
import type { JobFile } from "./submitted-file.ts";
import type { TransferOptions } from "./transfer.ts";

/**
 * What a worker needs of the program that it runs in: Node.js, or a page. Everything else of the worker runs in both,
 * and imports nothing of Node.js (decision 0068).
 */
export interface Platform {
  /** Dials the edge. */
  open(target: LinkTarget, events: TransportEvents): Transport;
  /** Runs it every so many milliseconds until the function that is returned is called. */
  every(ms: number, run: () => void): () => void;
  /** Runs it once, unless the function that is returned is called before. */
  after(ms: number, run: () => void): () => void;
  /** Runs it when what has arrived meanwhile was read: after this turn of the event loop. */
  afterTurn(run: () => void): void;
  /** A file of a job, as handlers get it on this platform. */
  makeFile(file: z.infer<typeof workerFile>, options: TransferOptions): JobFile;
  /** Opens what becomes an output file. */
  openContent(content: FileContent): Promise<OpenedContent>;
  /** All that is known of an error, for the worker's own log. */
  describeError(error: unknown): string;
  /**
   * Whether an attempt is ended here at its deadline if no `cancel` came. It needs the edge's time, which pages are
   * not told.
   */
  readonly endsAtDeadline: boolean;
}

/** How a dial or a connection ended. */
export type TransportEnd =
  | Extract<LinkClose, { type: "refused" | "unreachable" }>
  | { type: "closed"; code: number; reason: string };

export interface TransportEvents {
  /** @param edgeTime the edge's clock, or `null` if it is not known */
  onOpen(edgeTime: Date | null): void;
  /** @param text `null` for a binary message, which the protocol does not have */
  onMessage(text: string | null, bytes: number): void;
  /** Called once, also if the dial failed. */
  onEnd(end: TransportEnd): void;
}

/** One WebSocket. */
export interface Transport {
  readonly isOpen: boolean;
  /** Bytes that were sent and that the operating system has not taken yet. */
  readonly bufferedBytes: number;
  /** Bytes received so far; where it can be seen, also those of a message of which the rest is yet to come. */
  readonly receivedBytes: number;
  /** Whether it can: otherwise an announced message is given its time (C17a). */
  readonly seesParts: boolean;
  send(text: string): void;
  close(code: number): void;
  /** Drops the connection without a closing handshake; `onEnd` follows. */
  terminate(): void;
}
