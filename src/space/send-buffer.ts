import { logErrors } from "../objects/log-errors.ts";
import type { CLOSE, FrameErrorCode } from "../protocol/codes.ts";
import { type ErrorSubject, errorFrame } from "../protocol/error-frame.ts";
import type { Connection, Connections } from "./connections.ts";

interface BufferedAction {
  run: () => void;
  /** The socket that the action sends to or closes; `null` for a callback. */
  recipient: Connection | null;
  /** ULIDs of the jobs that must be stored first. */
  about: readonly string[];
}

const NO_JOB: readonly string[] = [];

/** Collects what a batch has to send until the jobs that it is about are stored (decisions 0006 and 0030). */
export class SendBuffer {
  private actions: BufferedAction[] = [];
  /** Connections that have frames among the actions of this batch. */
  private readonly withFrames = new Set<Connection>();
  private aheadOfWrites: { connection: Connection; frame: object }[] = [];
  private readonly connections: Connections;

  constructor(connections: Connections) {
    this.connections = connections;
  }

  /** Sends a frame, or what a function makes of the stored state, once every job in `about` (ULIDs) is stored. */
  send(connection: Connection, frame: object | (() => object), about = NO_JOB): void {
    this.withFrames.add(connection);
    const run = () =>
      this.connections.send(connection, typeof frame === "function" ? frame() : frame);
    this.actions.push({ run, recipient: connection, about });
  }

  /**
   * Sends a frame at the end of the batch even if the job that it is about is deferred. This is for the frame that
   * hands a job to a worker: without it the result that everybody waits for could not come (decision 0030).
   */
  sendAhead(connection: Connection, frame: object): void {
    // Keeps the order if other frames of this batch go to the same socket.
    if (this.withFrames.has(connection)) this.send(connection, frame);
    else this.aheadOfWrites.push({ connection, frame });
  }

  /** Sends the frames of `sendAhead`. */
  flushAhead(): void {
    const frames = this.aheadOfWrites;
    this.aheadOfWrites = [];
    for (const { connection, frame } of frames) this.connections.send(connection, frame);
  }

  error(
    connection: Connection,
    code: FrameErrorCode,
    message: string,
    about: ErrorSubject = {},
  ): void {
    this.send(connection, errorFrame(code, message, about));
  }

  close(connection: Connection, close: keyof typeof CLOSE, reason: string): void {
    const run = () => this.connections.close(connection, close, reason);
    this.actions.push({ run, recipient: connection, about: NO_JOB });
  }

  /** Runs `callback` once the batch and every job in `about` is stored, in order with the frames around it. */
  after(callback: () => void, about = NO_JOB): void {
    this.actions.push({ run: callback, recipient: null, about });
  }

  /**
   * Sends everything except messages about deferred jobs: such a message stays in the buffer, and so does
   * everything behind it on the same socket, so that a socket's frames are answered in their order. Example: a
   * client submits a job, which is deferred, and then sends a frame that can't be read. The `error` for that frame
   * has no `ref`. If it came before the job's `accepted`, the client would take the submit for refused.
   */
  flush(isDeferred: (ulid: string) => boolean): void {
    this.withFrames.clear();
    const kept: BufferedAction[] = [];
    const blocked = new Set<Connection>();
    // An action may add more, hence the outer loop.
    for (let actions = this.actions; actions.length > 0; actions = this.actions) {
      this.actions = [];
      for (const action of actions) {
        const { recipient, about, run } = action;
        if (about.some(isDeferred) || (recipient !== null && blocked.has(recipient))) {
          kept.push(action);
          if (recipient !== null) blocked.add(recipient);
        } else logErrors(run);
      }
    }
    this.actions = kept;
  }
}
