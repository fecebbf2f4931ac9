import { Users } from "../accounts/users.ts";
import { EDGE } from "../auth/caller.ts";
import { allIndexes, forgetJob } from "../backend-job/job-index.ts";
import { SpaceCatalog } from "../catalog/space-catalog.ts";
import { UserSpaces } from "../catalog/user-spaces.ts";
import type { Env } from "../env.ts";
import { LIMITS } from "../protocol/limits.ts";
import { RoomStub } from "../room/room-stub.ts";

/** How many objects are asked at the same time. */
const AT_ONCE = 20;
/** How many of a user's spaces one list looks at: the platform allows a request some hundred calls. */
const MOST_SPACES = 500;
/** How many jobs, events or ids one call of an object returns. */
const PAGE = 100;
/** How many calls of objects one request makes to erase: what is left then is erased by the next one. */
const MOST_CALLS = 400;

interface PlacedJob {
  space: string;
  ulid: string;
}

/** What the edge stores of a user beside the account: jobs with their files, and the events of their own room. */
export class UserData {
  private readonly env: Env;
  private readonly user: string;

  constructor(env: Env, user: string) {
    this.env = env;
    this.user = user;
  }

  /**
   * A page of the user's jobs in all spaces, newest first, as JSON text.
   *
   * @param before the last ULID of the page before, or empty
   */
  async jobs({ before, limit }: { before: string; limit: number }): Promise<string> {
    const spaces = await this.spaces();
    const found = await inTurns(spaces.slice(0, MOST_SPACES), async (space) => {
      const ulids = await this.spaceOf(space).jobIdsOf(this.user, before, limit + 1);
      return ulids.map((ulid): PlacedJob => ({ space, ulid }));
    });
    const newest = found.flat().sort((a, b) => (a.ulid < b.ulid ? 1 : -1));
    const texts: string[] = [];
    let bytes = 0;
    let last: PlacedJob | undefined;
    for (const job of newest.slice(0, limit)) {
      const text = await this.textOf(job);
      bytes += text?.length ?? 0;
      if (last !== undefined && bytes > LIMITS.pageBytes) break;
      last = job;
      if (text !== null) texts.push(text);
    }
    const isLast = last === undefined || last === newest.at(-1);
    return `{"jobs":[${texts.join()}],"next_cursor":${isLast ? "null" : `"${last?.ulid}"`}}`;
  }

  /** The job as its resource; `null` if it was erased meanwhile. */
  private async textOf({ space, ulid }: PlacedJob): Promise<string | null> {
    const reply = await this.spaceOf(space).job(EDGE, ulid);
    return reply.ok ? reply.body : null;
  }

  /**
   * Everything that the edge stores of the user, as the pieces of one JSON text. It is read while it is sent, so that
   * it may be of any size.
   */
  async *exported(): AsyncGenerator<string> {
    const account = await new Users(this.env.DB).get(this.user);
    yield `{"user":${JSON.stringify(this.user)},"account":${JSON.stringify(account)},"jobs":[`;
    yield* separated(this.allJobs());
    yield '],"events":[';
    yield* separated(this.allEvents());
    yield "]}";
  }

  private async *allJobs(): AsyncGenerator<string> {
    for (const space of await this.spaces()) {
      for (let before = ""; ; ) {
        const ulids = await this.spaceOf(space).jobIdsOf(this.user, before, PAGE);
        for (const ulid of ulids) {
          const text = await this.textOf({ space, ulid });
          if (text !== null) yield text;
        }
        before = ulids.at(-1) ?? "";
        if (ulids.length < PAGE) break;
      }
    }
    for await (const id of this.idsWithoutSpace()) {
      const reply = await this.env.JOB.getByName(id).job(true);
      if (reply.ok) yield reply.body;
    }
  }

  /** The events that are kept of the user's own room. */
  private async *allEvents(): AsyncGenerator<string> {
    const room = new RoomStub(this.env, `user:${this.user}`);
    for (let since: Parameters<RoomStub["history"]>[0] = null; ; ) {
      const page = await room.history(since, PAGE);
      for (const { text } of page.events) yield text;
      const last = page.events.at(-1);
      if (last === undefined || page.events.length < PAGE) return;
      since = { epoch: page.epoch, offset: last.offset };
    }
  }

  private async *idsWithoutSpace(): AsyncGenerator<string> {
    for (const index of allIndexes(this.env)) {
      for (let after = ""; ; ) {
        const ids = await index.ofUser(this.user, after, PAGE);
        yield* ids;
        after = ids.at(-1) ?? "";
        if (ids.length < PAGE) break;
      }
    }
  }

  /**
   * Erases the user's jobs with their files, takes back what they may do with others' spaces, and clears their own
   * room. Returns `false` if there was too much for one request: call it again.
   */
  async erase(): Promise<boolean> {
    let calls = 0;
    for (const space of await this.spaces()) {
      for (let isMore = true; isMore; ) {
        if (++calls > MOST_CALLS) return false;
        isMore = await this.spaceOf(space).eraseJobsOf(this.user);
      }
      await new UserSpaces(this.env.DB).remove(this.user, space);
    }
    for await (const id of this.idsWithoutSpace()) {
      if (++calls > MOST_CALLS) return false;
      await this.env.JOB.getByName(id).eraseNow();
      forgetJob(id);
    }
    const catalog = new SpaceCatalog(this.env.DB);
    for (const space of await catalog.sharedWith(this.user)) {
      if (++calls > MOST_CALLS) return false;
      await this.spaceOf(space).removeMember(EDGE, this.user);
      await catalog.setMember(space, this.user, null);
    }
    await new RoomStub(this.env, `user:${this.user}`).clear();
    return true;
  }

  private spaces(): Promise<string[]> {
    return new UserSpaces(this.env.DB).of(this.user);
  }

  private spaceOf(name: string) {
    return this.env.SPACE.getByName(name);
  }
}

/** The pieces with commas between them. */
async function* separated(pieces: AsyncGenerator<string>): AsyncGenerator<string> {
  let isFirst = true;
  for await (const piece of pieces) {
    yield isFirst ? piece : `,${piece}`;
    isFirst = false;
  }
}

/** Calls `work` for each item, a few at the same time. */
async function inTurns<I, O>(items: readonly I[], work: (item: I) => Promise<O>): Promise<O[]> {
  const done: O[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    done.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(work))));
  }
  return done;
}
