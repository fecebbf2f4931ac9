import { describe, expect, it, vi } from "vitest";
import { type Caller, callerFor } from "../../src/auth/caller.ts";
import { fakeD1 } from "../catalog/d1.ts";
import { SCHEMA_1 } from "../storage/schema-1.ts";
import { ADMIN, ANYBODY } from "../support/callers.ts";
import { pass, runInFakeRuntime, START, settled } from "../support/runtime/globals.ts";
import { ask, SpaceHost, submitOver, typesOf, ulidOf } from "./space-host.ts";

runInFakeRuntime();

const NEVER = "01KA7Z3QK0ABCDEFGHJKMNPQRS";

function user(userId: string, more: Partial<Caller> = {}): Caller {
  const session = { kind: "account", role: "member", sessionId: "s" } as const;
  return { ...callerFor({ ...session, userId, expiresAt: START + 3_600_000 }), ...more };
}
const [ANN, BEN] = [user("ann"), user("ben")];
const call = (options: object = {}) => ({ input: "{}", files: [], options });

/** Submits a job as somebody and returns its id. */
async function submitAs(space: SpaceHost, who: Caller, options: object = {}): Promise<string> {
  const [reply] = await settled(space.object.submit(who, [call(options)]));
  if (!reply?.ok) throw new Error(reply?.code);
  return JSON.parse(reply.body).id;
}

async function bodyOf(reply: Promise<{ ok: boolean; body?: string }>) {
  const { body } = await settled(reply);
  return body ? JSON.parse(body) : null;
}

describe("a job", () => {
  it("names its user in its resource and in the worker's frame, whoever sent it (H1e)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect({ concurrency: 9 });
    const key = user("ann", { keyId: "key-1" });
    const token = user("ann", { spaces: ["demo"], mayManage: false });
    for (const who of [ANN, key, token]) {
      const id = await submitAs(space, who);
      const [frame] = worker.takeOnly("job");
      expect(frame).toMatchObject({ job_id: id, user: "ann" });
      expect((await space.job(id))?.user).toBe("ann");
    }
    await submitAs(space, ANYBODY);
    expect(worker.takeOnly("job")).toMatchObject([{ user: null }]);
  });

  it("of somebody else is answered on every door like one that isn't there (H1e)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const ulid = ulidOf(
      await submitAs(space, ANN, { webhook: { url: "https://a.example", events: [] } }),
    );
    for (const who of [BEN, ANYBODY, user("ben", { spaces: ["*"] })]) {
      const { object } = space;
      const doors = async (id: string) => [
        await object.job(who, id),
        await settled(object.cancel(who, id)),
        await object.webhookDeliveries(who, id),
        await settled(object.share(who, id, "hash")),
        await settled(object.erase(who, id)),
        await space.follow({ as: who, jobUlid: id }).catch(String),
        await space.follow({ as: who, jobUlid: id, leaving: true }).catch(String),
      ];
      const answers = await doors(ulid);
      expect(answers).toEqual(await doors(NEVER));
      expect(answers[0]).toMatchObject({ ok: false, code: "job_not_found" });
      const socket = await space.follow({ as: who });
      const frames = async (id: string) => [
        ...(await ask(socket, { type: "follow", job_id: `demo.${id}`, ref: 1 })),
        ...(await ask(socket, { type: "cancel", job_id: `demo.${id}`, ref: 2 })),
        ...(await ask(socket, { type: "unfollow", job_id: `demo.${id}` })),
      ];
      const text = JSON.stringify(await frames(ulid));
      expect(text).toContain("job_not_found");
      expect(text.replaceAll(ulid, "x")).toBe(
        JSON.stringify(await frames(NEVER)).replaceAll(NEVER, "x"),
      );
    }
    expect(await space.statusOf(`demo.${ulid}`)).toBe("queued");
  });

  it("of one's own is seen, followed and canceled, also in a space closed to its user (H1e)", async () => {
    const space = await SpaceHost.make({ offline: "queue", visibility: "private" });
    const id = await submitAs(space, ADMIN, { user: "ann" });
    const token = user("ann", { spaces: [], mayManage: false });
    expect(await bodyOf(space.object.job(token, ulidOf(id)))).toMatchObject({ id, user: "ann" });
    const socket = await space.followJob(id, { as: token });
    expect(typesOf(socket)).toEqual(["connection", "progress"]);
    socket.push({ type: "cancel" });
    await pass();
    expect(await space.statusOf(id)).toBe("canceled: canceled");
    await expect(space.follow({ as: token })).rejects.toThrow("space_not_found");
  });

  it("is submitted for somebody else by those who manage the space alone (H1j)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const submits = (who: Caller) => settled(space.object.submit(who, [call({ user: "ann" })]));
    expect(await submits(BEN)).toMatchObject([{ code: "not_allowed" }]);
    expect(await submits(ANYBODY)).toMatchObject([{ code: "not_allowed" }]);
    expect(await submits(ANN)).toMatchObject([{ ok: true }]);
    await space.object.putMember(ADMIN, "ben", "manage");
    expect(await submits(BEN)).toMatchObject([{ ok: true }]);
    const socket = await space.follow({ as: ANYBODY });
    const refused = await ask(socket, { type: "submit", ref: 1, input: {}, user: "ann" });
    expect(refused).toMatchObject([{ type: "error", code: "not_allowed", ref: 1 }]);
  });

  it("has an idempotency key of its user's own (H10c)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const option = { idempotency_key: "k" };
    const ids = [
      await submitAs(space, ANN, option),
      await submitAs(space, BEN, option),
      await submitAs(space, ANYBODY, option),
      await submitAs(space, ANN, option),
      await submitAs(space, ADMIN, { ...option, user: "ann" }),
    ];
    expect(new Set(ids).size).toBe(3);
    expect([ids[3], ids[4]]).toEqual([ids[0], ids[0]]);
    await space.host.hibernate();
    expect(await submitAs(space, BEN, option)).toBe(ids[1]);
  });

  it("is listed to its user, and to those who manage the space with all others (H16)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const anns = [await submitAs(space, ANN), await submitAs(space, ANN)];
    const bens = await submitAs(space, BEN);
    const listed = async (who: Caller, user?: string) =>
      (await bodyOf(space.object.jobs(who, { user, limit: 9 })))?.jobs.map(
        ({ id }: { id: string }) => id,
      );
    expect(await listed(ANN)).toEqual([...anns].reverse());
    expect(await listed(ANN, "ben")).toEqual([]);
    expect(await listed(user("cleo"))).toEqual([]);
    expect(await listed(ADMIN)).toEqual([bens, ...[...anns].reverse()]);
    expect(await listed(ADMIN, "ben")).toEqual([bens]);
    expect(await space.object.jobs(ANYBODY, { limit: 9 })).toMatchObject({
      code: "not_authenticated",
    });
  });

  it("is shared by one link, which shows it and no more, until it is withdrawn (H1h)", async () => {
    const space = await SpaceHost.make({ offline: "queue", visibility: "private" });
    await space.object.putMember(ADMIN, "ann", "use");
    const id = await submitAs(space, ANN);
    const ulid = ulidOf(id);
    const guest = { ...ANYBODY, share: "hash" };
    expect(await space.object.job(guest, ulid)).toMatchObject({ code: "not_authenticated" });
    await settled(space.object.share(ANN, ulid, "hash"));
    expect(await bodyOf(space.object.job(guest, ulid))).toMatchObject({ id });
    expect(await settled(space.object.cancel(guest, ulid))).toMatchObject({ ok: false });
    expect(await space.object.webhookDeliveries(guest, ulid)).toMatchObject({ ok: false });
    const socket = await space.followJob(id, { as: guest });
    expect(await ask(socket, { type: "cancel" })).toMatchObject([{ type: "error" }]);
    await settled(space.object.share(ANN, ulid, null));
    expect(socket.closed).toMatchObject({ code: 4401 });
    expect(await space.object.job(guest, ulid)).toMatchObject({ ok: false });
    expect(await space.statusOf(id)).toBe("queued");
  });

  it("is erased by its user with its files and its log, and canceled first if it runs (H1i)", async () => {
    const space = await SpaceHost.make();
    const worker = await space.connect();
    const id = await submitAs(space, ANN);
    await space.report(worker, id, { type: "output", delta: "a" });
    const watcher = await space.followJob(id, { as: ANN });
    worker.take();
    expect(await settled(space.object.erase(ANN, ulidOf(id)))).toMatchObject({ ok: true });
    expect(worker.takeOnly("cancel")).toMatchObject([{ job_id: id }]);
    expect(watcher.closed).toMatchObject({ code: 1000 });
    expect(await space.statusOf(id)).toBe("gone");
    expect(space.host.sql("SELECT * FROM channel_log")).toEqual([]);
    worker.take();
    await space.complete(worker, id);
    expect(typesOf(worker)).toEqual(["stale"]);
  });
});

describe("a space", () => {
  it("is managed by its owner and managers, used by members, and handed over by its owner (H1b)", async () => {
    const space = await SpaceHost.make({ visibility: "private" });
    const { object } = space;
    await object.change(ADMIN, { owner: "ann" });
    await object.putMember(ANN, "ben", "use");
    expect(await bodyOf(object.describe(ANN))).toMatchObject({ owner: "ann", access: "manage" });
    expect(await bodyOf(object.describe(BEN))).toMatchObject({ owner: "ann", access: "use" });
    expect(await object.describe(user("cleo"))).toMatchObject({ code: "space_not_found" });
    expect(await object.describe(ANYBODY)).toMatchObject({ code: "not_authenticated" });
    for (const refused of [
      await object.change(BEN, { title: "mine" }),
      await object.members(BEN),
      await object.putMember(BEN, "ben", "manage"),
      await object.webhookSecret(BEN, true),
      await object.drain(BEN, "x"),
    ]) {
      expect(refused).toMatchObject({ code: "not_allowed" });
    }
    await object.putMember(ANN, "ben", "manage");
    expect(await object.change(BEN, { title: "ours" })).toMatchObject({ ok: true });
    expect(await object.change(BEN, { owner: "ben" })).toMatchObject({ code: "not_allowed" });
    expect(await object.change(ANN, { owner: "ben" })).toMatchObject({ ok: true });
    await space.host.hibernate();
    expect(await bodyOf(object.members(BEN))).toEqual({ owner: "ben", members: [] });
    expect(await object.describe(ANN)).toMatchObject({ code: "space_not_found" });
  });

  it("takes what it gave from open sockets at once (H1g)", async () => {
    const space = await SpaceHost.make({ visibility: "private", offline: "queue" });
    const { object } = space;
    await object.change(ADMIN, { owner: "ann" });
    for (const member of ["ben", "cleo"]) await object.putMember(ANN, member, "manage");
    const [ben, cleo] = [await space.follow({ as: BEN }), await space.follow({ as: user("cleo") })];
    const anns = await submitAs(space, ANN);
    for (const socket of [ben, cleo]) await ask(socket, { type: "follow", job_id: anns, ref: 1 });
    const own = await submitOver(ben);
    await object.putMember(ANN, "ben", "use");
    expect(ben.takeOnly("error")).toMatchObject([{ code: "job_not_found", job_id: anns }]);
    await space.cancel(anns);
    await space.cancel(own);
    expect(ben.takeOnly("progress").map(({ job_id }) => job_id)).toEqual([own]);
    expect(cleo.takeOnly("progress").length).toBeGreaterThan(0);
    await object.removeMember(user("cleo"), "cleo");
    expect([ben.closed, cleo.closed?.code]).toEqual([null, 4401]);
    await object.removeMember(ANN, "ben");
    expect(ben.closed).toMatchObject({ code: 4401 });
  });

  it("closes sockets whose token has expired, and handles nothing more of them (H1f)", async () => {
    const space = await SpaceHost.make({ offline: "queue" });
    const expiresAt = START + 60_000;
    const [ann, anybody] = [
      await space.follow({ as: { ...ANN, expiresAt } }),
      await space.follow(),
    ];
    const jobs = await space.followJob(await submitAs(space, ANN), { as: { ...ANN, expiresAt } });
    await pass(expiresAt - Date.now() - 1);
    expect([ann.closed, jobs.closed]).toEqual([null, null]);
    await pass(2);
    expect([ann.closed?.code, jobs.closed?.code, anybody.closed]).toEqual([4401, 4401, null]);
  });

  it("lets strangers look where it lets them submit nothing, and less often where it says so (H1k)", async () => {
    const space = await SpaceHost.make({ offline: "queue", anonymous_use: false });
    expect(await bodyOf(space.object.describe(ANYBODY))).toMatchObject({ access: null });
    const submits = (who: Caller, count = 1) =>
      settled(
        space.object.submit(
          who,
          Array.from({ length: count }, () => call()),
        ),
      );
    expect(await submits(ANYBODY)).toMatchObject([{ code: "not_authenticated" }]);
    const socket = await space.follow();
    expect(await ask(socket, { type: "submit", ref: 1, input: {} })).toMatchObject([
      { type: "error", code: "not_authenticated", ref: 1 },
    ]);
    expect(await submits(ANN)).toMatchObject([{ ok: true }]);
    await space.object.change(ADMIN, { anonymous_use: true, anonymous_jobs_per_minute: 2 });
    const local = { ...ANYBODY, local: true };
    expect(await submits(local, 2)).toMatchObject([{ ok: true }, { ok: true }]);
    expect(await submits(local)).toMatchObject([{ code: "rate_limited", retryAfterS: 30 }]);
    expect(await ask(socket, { type: "submit", ref: 2, input: {} })).toMatchObject([
      { type: "error", code: "rate_limited", ref: 2 },
    ]);
    expect(await submits(ANN, 5)).toHaveLength(5);
    await pass(31_000);
    expect(await submits(local)).toMatchObject([{ ok: true }]);
  });

  it("has 500 members at most (H1l)", async () => {
    const space = await SpaceHost.make();
    for (let count = 0; count < 500; count += 1) {
      await space.object.putMember(ADMIN, `user-${count}`, "use");
    }
    const { object } = space;
    expect(await object.putMember(ADMIN, "one-more", "use")).toMatchObject({
      code: "limit_reached",
    });
    expect(await object.putMember(ADMIN, "user-7", "manage")).toMatchObject({ ok: true });
    expect(await object.removeMember(ADMIN, "one-more")).toMatchObject({ code: "user_not_found" });
  });
});

describe("a space of the version before", () => {
  async function painter(db: D1Database): Promise<SpaceHost> {
    return SpaceHost.stored(SCHEMA_1, { DB: db });
  }

  it("belongs to whom the catalogue says, which it reads once (H1b)", async () => {
    const db = fakeD1();
    const insert = "INSERT INTO spaces (name, title, visibility, settings, created_at, owner)";
    await db.prepare(`${insert} VALUES ('painter', '', 'public', '{}', 0, 'ann')`).run();
    const space = await painter(db);
    expect(await bodyOf(space.object.describe(ANN))).toMatchObject({
      owner: "ann",
      access: "manage",
    });
    await db.prepare("UPDATE spaces SET owner = 'ben'").run();
    await space.host.hibernate();
    expect(await space.describe()).toMatchObject({ owner: "ann" });
  });

  it("is the operator's as long as that can't be read, and then the first admin's (H1b)", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const space = await painter({} as D1Database);
    expect(await space.describe()).toMatchObject({ owner: null });
    expect(logged).toHaveBeenCalledWith(expect.stringContaining("owner"), expect.anything());
    await space.object.adopt("ann");
    expect(await space.describe()).toMatchObject({ owner: "ann" });
    await space.object.adopt("ben");
    await space.host.hibernate();
    expect(await space.describe()).toMatchObject({ owner: "ann" });
    logged.mockRestore();
  });
});
