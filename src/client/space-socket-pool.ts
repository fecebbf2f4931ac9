import { jobId } from "../protocol/values.ts";
import type { Edge } from "./edge.ts";
import type { JobSubscriber } from "./followed-jobs.ts";
import { SpaceSocket, type StatusSubscriber } from "./space-socket.ts";

/**
 * The sockets of one client to spaces: one for each space, over which its status and up to 100 jobs are followed, and
 * more only if there are more jobs (decision 0051). Each is open while somebody uses it.
 */
export class SpaceSocketPool {
  readonly #edge: Edge;
  readonly #sockets = new Map<string, SpaceSocket[]>();

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  /** Returns a function that ends it. */
  followStatus(space: string, subscriber: StatusSubscriber): () => void {
    const socket = this.#sockets.get(space)?.[0] ?? this.#dial(space);
    socket.addStatus(subscriber);
    return () => socket.removeStatus(subscriber);
  }

  /** Returns a function that ends it. */
  followJob(id: string, subscriber: JobSubscriber): () => void {
    const space = spaceOf(id) ?? "";
    const sockets = this.#sockets.get(space) ?? [];
    const socket = sockets.find((known) => known.hasRoomFor(id)) ?? this.#dial(space);
    socket.addJob(id, subscriber);
    return () => socket.removeJob(id, subscriber);
  }

  /** Whether a socket of the job's space is in use. */
  isInUse(id: string): boolean {
    return this.#sockets.has(spaceOf(id) ?? "");
  }

  #dial(space: string): SpaceSocket {
    const socket = new SpaceSocket(this.#edge, space, () => this.#forget(space, socket));
    this.#sockets.set(space, [...(this.#sockets.get(space) ?? []), socket]);
    return socket;
  }

  #forget(space: string, socket: SpaceSocket): void {
    const others = (this.#sockets.get(space) ?? []).filter((other) => other !== socket);
    if (others.length > 0) this.#sockets.set(space, others);
    else this.#sockets.delete(space);
  }
}

/** The space of a job; `null` for a job without one, and for a text that is no job's id. */
export function spaceOf(id: string): string | null {
  return jobId.safeParse(id).success ? (id.split(".")[0] ?? null) : null;
}
