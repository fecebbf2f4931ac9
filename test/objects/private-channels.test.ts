import { expect, it } from "vitest";
import { connectUser, subscribe } from "./rooms-support.ts";
import { call, makeSpace, OPERATOR, TestSocket } from "./support.ts";

async function submitPrivately(space: string): Promise<string> {
  const body = { input: { prompt: "a secret" } };
  const response = await call("POST", `/api/spaces/${space}/jobs`, body, OPERATOR);
  return (await response.json<{ id: string }>()).id;
}

it("a private space and its jobs are followed over `/ws` by those who may use it, whatever rooms a token names (R8a, H1a)", async () => {
  const { name } = await makeSpace({ visibility: "private", offline: "queue" });
  const job = `job:${await submitPrivately(name)}`;
  for (const rooms of [["*"], ["space:*", "job:*"], [`space:${name}`, job]]) {
    const user = await connectUser("ann", { rooms, publish: rooms });
    for (const room of [`space:${name}`, job]) {
      user.send({ type: "subscribe", room, ref: room });
      const answer = await user.next(({ ref }) => ref === room);
      const code = room === job ? "job_not_found" : "space_not_found";
      expect(answer).toMatchObject({ type: "error", code, room });
    }
    user.close();
  }
  const operator = await TestSocket.open("/ws", OPERATOR);
  for (const room of [`space:${name}`, job]) {
    expect(await subscribe(operator, room)).toMatchObject({ room });
  }
});

it("a token's claim `spaces` opens the spaces that it names, and the jobs of nobody in them (R8a, H1d)", async () => {
  const { name } = await makeSpace({ visibility: "private", offline: "queue" });
  const room = `space:${name}`;
  const job = `job:${await submitPrivately(name)}`;
  const user = await connectUser("ann", { spaces: [`${name.slice(0, -2)}*`] });
  expect(await subscribe(user, room)).toMatchObject({ room });
  expect(await subscribe(user, job)).toMatchObject({ room: job });
  const other = await connectUser("ann", { spaces: ["other", "oth*"] });
  other.send({ type: "subscribe", room });
  expect(await other.next("error")).toMatchObject({ code: "space_not_found" });
});

it("a space that becomes private is followed no more by those who may not use it (R8a)", async () => {
  const { name } = await makeSpace();
  const room = `space:${name}`;
  const user = await connectUser("ann", { rooms: ["*"] });
  await subscribe(user, room);
  await call("PATCH", `/api/spaces/${name}`, { visibility: "private" }, OPERATOR);
  expect(await user.next("unsubscribed")).toMatchObject({ room, code: 4401 });
});
