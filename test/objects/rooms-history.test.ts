import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { expireEvents, freshRoom, objectOf, publish, userToken } from "./rooms-support.ts";
import { call, expectStatus, type Frame, OPERATOR, problemOf } from "./support.ts";

interface Page {
  epoch: string;
  offset: number;
  recovered: boolean;
  next: string;
  more: boolean;
  events: Frame[];
}

function pathOf(room: string, query = ""): string {
  return `/api/rooms/${room}/history?${query}`;
}

async function read(room: string, query = ""): Promise<Page> {
  const response = await call("GET", pathOf(room, query), undefined, OPERATOR);
  return (await expectStatus(200, response)).json<Page>();
}

function offsetsOf({ events }: Page): unknown[] {
  return events.map(({ offset }) => offset);
}

async function roomWith(count: number, type = "step.done"): Promise<string> {
  const room = freshRoom();
  for (let n = 1; n <= count; n += 1) await publish(room, type, { n });
  return room;
}

describe("the history of a room", () => {
  it("is read from its newest event back, page by page, while new events come (R18, R18b)", async () => {
    const room = await roomWith(5);
    const first = await read(room, "order=desc&limit=2");
    expect(first).toMatchObject({ offset: 5, more: true, recovered: false });
    expect(offsetsOf(first)).toEqual([5, 4]);
    await publish(room, "step.done", { n: 6 });
    const second = await read(room, `order=desc&limit=2&before=${first.next}`);
    expect(offsetsOf(second)).toEqual([3, 2]);
    expect(second).toMatchObject({ offset: 6, more: true, recovered: true });
    const third = await read(room, `order=desc&limit=2&before=${second.next}`);
    expect([offsetsOf(third), third.more]).toEqual([[1], false]);
    const none = await read(room, `order=desc&before=${third.next}`);
    expect([offsetsOf(none), none.more, none.recovered]).toEqual([[], false, true]);
  });

  it("is read forwards from where reading back began (R18b)", async () => {
    const room = await roomWith(4);
    const back = await read(room, "order=desc&limit=3");
    const forwards = await read(room, `since=${back.next}`);
    expect([offsetsOf(forwards), forwards.more]).toEqual([[3, 4], false]);
  });

  it("has the events just before a position if only that is named (R18a)", async () => {
    const room = await roomWith(6);
    const { epoch } = await read(room);
    expect(offsetsOf(await read(room, `before=${epoch}:5&limit=2`))).toEqual([4, 3]);
    expect(offsetsOf(await read(room, `before=${epoch}:5&limit=2&order=asc`))).toEqual([1, 2]);
    const between = `since=${epoch}:1&before=${epoch}:5`;
    expect(offsetsOf(await read(room, between))).toEqual([2, 3, 4]);
    expect(offsetsOf(await read(room, `${between}&order=desc&limit=2`))).toEqual([4, 3]);
    expect(offsetsOf(await read(room, `before=${epoch}:999&limit=1`))).toEqual([6]);
  });

  it("has only the events that pass a filter, as many as the limit says (R18c)", async () => {
    const room = freshRoom();
    for (let n = 1; n <= 6; n += 1) {
      await publish(room, n % 2 === 0 ? "step.done" : "other.thing", { n, even: n % 2 === 0 });
    }
    const first = await read(room, "types=step.*&limit=2&order=desc");
    expect([offsetsOf(first), first.more]).toEqual([[6, 4], true]);
    const second = await read(room, `types=step.*&limit=2&before=${first.next}`);
    expect([offsetsOf(second), second.more]).toEqual([[2], false]);
    const filter = encodeURIComponent(JSON.stringify({ where: { even: false } }));
    expect(offsetsOf(await read(room, `filter=${filter}&types=step.done,other.thing`))).toEqual([
      1, 3, 5,
    ]);
    expect(offsetsOf(await read(room, "types=other.none,%20step.*"))).toEqual([2, 4, 6]);
    const types = encodeURIComponent(JSON.stringify({ types: ["a.b"] }));
    for (const wrong of [`filter=${types}&types=a.b`, "types=", "filter=nonsense"]) {
      await problemOf(422, call("GET", pathOf(room, wrong), undefined, OPERATOR));
    }
    const unknown = call("GET", pathOf(room, 'filter={"type":"a.b"}'), undefined, OPERATOR);
    expect((await problemOf(422, unknown)).detail).toContain("the filter has a field");
  });

  it("says which events are gone when old ones are dropped or the room begins anew (R18d)", async () => {
    const room = await roomWith(4);
    const { epoch } = await read(room);
    await expireEvents(room);
    await publish(room, "step.done", { n: 1 });
    const now = await read(room);
    expect(now.epoch).not.toBe(epoch);
    const forwards = await read(room, `since=${epoch}:2`);
    expect([offsetsOf(forwards), forwards.recovered]).toEqual([[1], false]);
    const back = await read(room, `before=${epoch}:4`);
    expect([offsetsOf(back), back.recovered, back.more]).toEqual([[], false, false]);
    const future = await read(room, `since=${now.epoch}:9`);
    expect([offsetsOf(future), future.recovered]).toEqual([[1], false]);
  });

  it("refuses a position, an order or a limit that can't be read, and says why (R18e, R18)", async () => {
    const room = await roomWith(1);
    for (const name of ["since", "before"]) {
      for (const wrong of ["", "5", "abc:", "a:-1", "a b:1", "e:1:2"]) {
        const query = `${name}=${encodeURIComponent(wrong)}`;
        const problem = await problemOf(422, call("GET", pathOf(room, query), undefined, OPERATOR));
        expect(problem.detail).toContain(`${name}: must be a position, <epoch>:<offset>`);
      }
    }
    for (const query of [
      "order=newest",
      "limit=0",
      "limit=1001",
      "limit=few",
      "limit=1.5",
      "x=1",
    ]) {
      await problemOf(422, call("GET", pathOf(room, query), undefined, OPERATOR));
    }
  });

  it("of a room that nobody has used is empty, and stores nothing (R18f)", async () => {
    const room = freshRoom();
    const page = await read(room);
    expect(page).toMatchObject({ offset: 0, events: [], more: false, recovered: false });
    for (const query of [`since=${page.next}`, `before=${page.next}`, "order=desc"]) {
      expect(await read(room, query)).toMatchObject({ events: [], more: false });
    }
    const stored = await runInDurableObject(objectOf(room), async (_room, { storage }) => [
      [...storage.kv.list()],
      await storage.getAlarm(),
    ]);
    expect(stored).toEqual([[], null]);
  });

  it("accepts its token in the address, and answers HEAD without a body (R1a)", async () => {
    const room = await roomWith(1);
    const token = await userToken("ann", { rooms: [room] });
    await expectStatus(200, await call("GET", pathOf(room, `token=${token}`)));
    const head = await call("HEAD", pathOf(room), undefined, OPERATOR);
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });
});
