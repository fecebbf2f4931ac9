/** What a frame changes: its room, alone or together with frames of the same kind; everything; or nothing. */
export type FrameScope =
  | { on: "room"; room: string; together: boolean }
  | { on: "everything" }
  | { on: "nothing" };

/** The frames of one client that are not answered yet. */
interface Unanswered {
  count: number;
  /** Their length together, characters. */
  length: number;
  /** Resolves once the newest frame and all before it are answered. */
  answered: Promise<unknown>;
  /** Resolves when the newest frame that concerns all rooms (`authenticate`) was handled; `null` if there is none. */
  everything: Promise<unknown> | null;
  rooms: Map<string, RoomTurns>;
}

interface RoomTurns {
  /** Resolves once all frames of the room have their effect. */
  all: Promise<unknown>;
  /** Resolves once the newest of them that must be alone has its effect; `null` if there is none. */
  alone: Promise<unknown> | null;
}

/**
 * Keeps the frames of each client in order (decision 0021). A frame begins when the frames before it that concern
 * the same room have had their effect, and is answered after all frames before it. Frames of different rooms run
 * at the same time: a client that subscribes to a hundred rooms waits for the slowest of them, not for their sum.
 */
export class FrameOrder<C extends object> {
  private readonly clients = new WeakMap<C, Unanswered>();

  /** The length of the client's unanswered frames together, characters. */
  unansweredLength(client: C): number {
    return this.clients.get(client)?.length ?? 0;
  }

  /**
   * Handles a frame when it is its turn, at once if nothing before it is waited for.
   *
   * @param length the frame's length, characters
   * @param handle must wait for its argument before it sends the answer
   */
  run(
    client: C,
    scope: FrameScope,
    length: number,
    handle: (earlierAnswered: Promise<unknown>) => Promise<void>,
  ): Promise<void> {
    const frames = this.clients.get(client) ?? noFrames();
    this.clients.set(client, frames);
    const before = waitsFor(frames, scope);
    const earlier = frames.answered;
    const done = before === null ? handle(earlier) : before.then(() => handle(earlier));
    const settled = done.catch((error) => console.error("a frame could not be handled", error));
    frames.count += 1;
    frames.length += length;
    // An answer comes after all earlier ones, so the newest frame is answered last.
    frames.answered = Promise.all([earlier, settled]);
    enter(frames, scope, settled);
    return settled.then(() => {
      frames.count -= 1;
      frames.length -= length;
      if (frames.count === 0 && this.clients.get(client) === frames) this.clients.delete(client);
    });
  }
}

function noFrames(): Unanswered {
  return { count: 0, length: 0, answered: Promise.resolve(), everything: null, rooms: new Map() };
}

/** What must have had its effect before a frame begins; `null`: nothing. */
function waitsFor(frames: Unanswered, scope: FrameScope): Promise<unknown> | null {
  if (frames.count === 0 || scope.on === "nothing") return null;
  if (scope.on === "everything") return frames.answered;
  const turns = frames.rooms.get(scope.room);
  const room = (scope.together ? turns?.alone : turns?.all) ?? null;
  if (room === null || frames.everything === null) return room ?? frames.everything;
  return Promise.all([room, frames.everything]);
}

function enter(frames: Unanswered, scope: FrameScope, settled: Promise<unknown>): void {
  if (scope.on === "everything") {
    frames.everything = settled;
    frames.rooms.clear();
  } else if (scope.on === "room") {
    const turns = frames.rooms.get(scope.room);
    const all = turns ? Promise.all([turns.all, settled]) : settled;
    const alone = scope.together ? (turns?.alone ?? null) : settled;
    const changed = { all, alone };
    frames.rooms.set(scope.room, changed);
    // A client that never stops sending would otherwise leave an entry for each of its rooms.
    void all.then(() => {
      if (frames.rooms.get(scope.room) === changed) frames.rooms.delete(scope.room);
    });
  }
}
