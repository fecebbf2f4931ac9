import { env } from "cloudflare:workers";
import { expect, onTestFinished, test, vi } from "vitest";
import { userResource } from "../../src/protocol/accounts.ts";
import { callAs, makeMember } from "./accounts-support.ts";
import { expectStatus, makeSpace } from "./support.ts";

/** How many statements of D1 a request takes. */
async function readsOf(request: () => Promise<Response>, status: number): Promise<number> {
  const prepare = vi.spyOn(Object.getPrototypeOf(env.DB), "prepare");
  onTestFinished(() => prepare.mockRestore());
  try {
    await expectStatus(status, await request());
    return prepare.mock.calls.length;
  } finally {
    prepare.mockRestore();
  }
}

test("a session adds one read of D1 to a submit and to a page, and nothing else does (H1b)", async () => {
  const space = await makeSpace({ offline: "queue" });
  const member = await makeMember();
  const visitor = { address: member.address };
  const [page, jobs] = [`/api/spaces/${space.name}`, `/api/spaces/${space.name}/jobs`];
  const submit = (who: typeof visitor) => callAs(who, "POST", jobs, { input: {} });
  // The catalogue is read once, and that the user used the space is noted once.
  await submit(member);
  expect(await readsOf(() => submit(visitor), 202)).toBe(0);
  expect(await readsOf(() => submit(member), 202)).toBe(1);
  expect(await readsOf(() => callAs(visitor, "GET", page), 200)).toBe(0);
  expect(await readsOf(() => callAs(member, "GET", page), 200)).toBe(1);
  expect(await readsOf(() => callAs(member, "GET", "/api/me"), 200)).toBe(1);
  const me = (await callAs(member, "GET", "/api/me")).json<{ user: object }>();
  expect(Object.keys((await me).user).sort()).toEqual(Object.keys(userResource.shape).sort());
});
