import type { DialoutError } from "../client/errors.ts";
import type { Sending } from "../client/sending.ts";
import type { SpaceResource } from "../protocol/resources.ts";
import { listSpaces } from "./space-api.ts";

/**
 * How often the list is asked for again while the page is looked at, milliseconds. Every look wakes every
 * space it shows: longer than the 10 seconds after which they sleep.
 */
const REFRESH_MS = 30_000;

export interface SpaceList {
  /** `null` until the first answer. */
  spaces: SpaceResource[] | null;
  hasMore: boolean;
  /** Why the list can't be read now; it is tried again. */
  trouble: DialoutError | null;
}

/** The spaces that the visitor may use, as many pages as were asked for, kept up to date while they are looked at. */
export class SpaceListing {
  readonly #show: (list: SpaceList) => void;
  #list: SpaceList = { spaces: null, hasMore: false, trouble: null };
  #pages = 1;
  #isAsking = false;

  constructor(show: (list: SpaceList) => void) {
    this.#show = show;
  }

  /** Lists until the returned function is called. */
  start(): () => void {
    const onTime = () => void this.#refresh();
    onTime();
    const timer = setInterval(onTime, REFRESH_MS);
    document.addEventListener("visibilitychange", onTime);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", onTime);
    };
  }

  showMore(): void {
    this.#pages += 1;
    void this.#refresh();
  }

  /** Asks for all pages again: spaces may have come in between. */
  async #refresh(): Promise<void> {
    if (document.visibilityState !== "visible" || this.#isAsking) return;
    this.#isAsking = true;
    const spaces: SpaceResource[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < this.#pages; page += 1) {
      const answer = await listSpaces(cursor, {
        timeout: Number.POSITIVE_INFINITY,
        onSending: (now: Sending) => now.state === "waiting" && this.#set({ trouble: now.error }),
      });
      if (!answer.ok) {
        this.#set({ trouble: answer.error });
        break;
      }
      spaces.push(...answer.value.spaces);
      cursor = answer.value.next_cursor ?? undefined;
      const isLast = page + 1 === this.#pages || cursor === undefined;
      if (isLast) this.#set({ spaces, hasMore: cursor !== undefined, trouble: null });
      if (cursor === undefined) break;
    }
    this.#isAsking = false;
  }

  #set(change: Partial<SpaceList>): void {
    this.#list = { ...this.#list, ...change };
    this.#show(this.#list);
  }
}
