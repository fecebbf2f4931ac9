import { logErrors } from "../objects/log-errors.ts";
import type { CLOSE, FrameErrorCode } from "../protocol/codes.ts";
import { type ErrorSubject, errorFrame } from "../protocol/error-frame.ts";
import type { Connection, Connections } from "./connections.ts";

interface Post {
  perform: () => void;
  recipient: Connection | null;
  /** Jobs that have to be stored first. */
  about: readonly string[];
}

const NO_JOB: readonly string[] = [];

/** What a batch has to say, held until everything it tells of is stored. */
export class SendBuffer {
  private posts: Post[] = [];
  /** Who has frames among the posts. */
  private readonly waiting = new Set<Connection>();
  private ahead: { connection: Connection; frame: object }[] = [];
  private readonly connections: Connections;

  constructor(connections: Connections) {
    this.connections = connections;
  }

  /** A frame, or a function that makes it once the batch is stored. */
  send(connection: Connection, frame: object | (() => object), about = NO_JOB): void {
    this.waiting.add(connection);
    const say = () =>
      this.connections.send(connection, typeof frame === "function" ? frame() : frame);
    this.posts.push({ perform: say, recipient: connection, about });
  }

  /** A frame that goes out also where the batch is held, before it is stored. */
  sendAhead(connection: Connection, frame: object): void {
    // Never before what it is still to be told.
    if (this.waiting.has(connection)) this.send(connection, frame);
    else this.ahead.push({ connection, frame });
  }

  flushAhead(): void {
    const ahead = this.ahead;
    this.ahead = [];
    for (const { connection, frame } of ahead) this.connections.send(connection, frame);
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
    const say = () => this.connections.close(connection, close, reason);
    this.posts.push({ perform: say, recipient: connection, about: NO_JOB });
  }

  /** Runs once the batch is stored, and the jobs it is about are; in its place among the frames. */
  after(say: () => void, about = NO_JOB): void {
    this.posts.push({ perform: say, recipient: null, about });
  }

  /** @param isHeld whether a job is not stored yet: what is about it stays, and what comes to the same socket after it */
  flush(isHeld: (ulid: string) => boolean): void {
    this.waiting.clear();
    const staying: Post[] = [];
    const behind = new Set<Connection>();
    for (let posts = this.posts; posts.length > 0; posts = this.posts) {
      this.posts = [];
      for (const post of posts) {
        const { recipient, about, perform } = post;
        if (about.some(isHeld) || (recipient !== null && behind.has(recipient))) {
          staying.push(post);
          if (recipient !== null) behind.add(recipient);
        } else logErrors(perform);
      }
    }
    this.posts = staying;
  }
}
