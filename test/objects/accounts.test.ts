import { env, exports } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { setupCode } from "../../src/auth/setup-code.ts";
import type { UserResource } from "../../src/protocol/accounts.ts";
import {
  callAs,
  cookiesOf,
  makeMember,
  newPerson,
  OWN_PAGE,
  PASSWORD,
} from "./accounts-support.ts";
import { call, expectStatus, makeSpace, OPERATOR, problemOf, TestSocket } from "./support.ts";

/** Makes attempts that cost little, until one is refused: a minute may begin in between. */
async function useUpAttempts(address: string): Promise<void> {
  const { address: _, ...person } = newPerson();
  const body = { ...person, key: "not the operator's key" };
  let status = 0;
  while (status !== 429) {
    ({ status } = await callAs({ address }, "POST", "/api/auth/setup", body));
  }
}

/** The tables of all tests of a file are the same, so the first admin is made here, before any other. */
describe("set-up", () => {
  test("two who make the first admin at the same instant: one succeeds", async () => {
    const answers = await Promise.all(
      [env.OPERATOR_KEY, setupCode(env.OPERATOR_KEY)].map((key) => {
        const { address, ...person } = newPerson();
        return callAs({ address }, "POST", "/api/auth/setup", { ...person, key });
      }),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    const winner = answers.find(({ status }) => status === 201);
    expect(await winner?.json()).toMatchObject({ user: { role: "admin" } });
  });

  test("once there is an admin, nobody can be made one with the key", async () => {
    const { address, ...person } = newPerson();
    const answer = callAs({ address }, "POST", "/api/auth/setup", {
      ...person,
      key: env.OPERATOR_KEY,
    });
    expect(await problemOf(409, answer)).toMatchObject({ code: "already_set_up" });
  });

  test("a wrong key makes nobody an admin", async () => {
    const { address, ...person } = newPerson();
    const body = { ...person, key: "not the operator's key" };
    const answer = callAs({ address }, "POST", "/api/auth/setup", body);
    expect(await problemOf(403, answer)).toMatchObject({ code: "not_allowed" });
  });
});

describe("registration", () => {
  test("takes an invitation, once", async () => {
    const made = await call("POST", "/api/invitations", {}, OPERATOR);
    const { code: invitation } = await made.json<{ code: string }>();
    const { address, ...person } = newPerson();
    const first = await callAs({ address }, "POST", "/api/auth/sign-up", { ...person, invitation });
    expect(first.status).toBe(201);
    expect(await first.json()).toMatchObject({ user: { role: "member", email: person.email } });
    const { address: other, ...second } = newPerson();
    const answer = callAs({ address: other }, "POST", "/api/auth/sign-up", {
      ...second,
      invitation,
    });
    expect(await problemOf(403, answer)).toMatchObject({ code: "not_allowed" });
  });

  test("an invitation is not used up by an attempt that fails", async () => {
    const member = await makeMember();
    const made = await call("POST", "/api/invitations", {}, OPERATOR);
    const { code: invitation } = await made.json<{ code: string }>();
    const { address, ...person } = newPerson();
    const taken = { ...person, email: member.email, invitation };
    await problemOf(422, callAs({ address }, "POST", "/api/auth/sign-up", taken));
    const again = await callAs({ address }, "POST", "/api/auth/sign-up", { ...person, invitation });
    expect(again.status).toBe(201);
  });

  test("an invitation for an address is good for no other", async () => {
    const { address, ...person } = newPerson();
    const made = await call("POST", "/api/invitations", { email: "else@example.com" }, OPERATOR);
    const { code: invitation } = await made.json<{ code: string }>();
    const answer = callAs({ address }, "POST", "/api/auth/sign-up", { ...person, invitation });
    expect(await problemOf(403, answer)).toMatchObject({ code: "not_allowed" });
  });

  test("an invitation is good only as long as whoever made it is an admin", async () => {
    for (const patch of [{ role: "member" }, { disabled: true }]) {
      const admin = await makeMember("admin");
      const made = await callAs(admin, "POST", "/api/invitations", { role: "admin" });
      const { code: invitation } = await made.json<{ code: string }>();
      await call("PATCH", `/api/users/${admin.id}`, patch, OPERATOR);
      const { address, ...person } = newPerson();
      const answer = callAs({ address }, "POST", "/api/auth/sign-up", { ...person, invitation });
      expect(await problemOf(403, answer)).toMatchObject({ code: "not_allowed" });
    }
  });

  test("nobody registers without one, nor chooses a role", async () => {
    const { address, ...person } = newPerson();
    await problemOf(403, callAs({ address }, "POST", "/api/auth/sign-up", person));
    const body = { ...person, role: "admin" };
    await problemOf(422, callAs({ address }, "POST", "/api/auth/sign-up", body));
  });

  test("the routes of Better Auth itself are not there", async () => {
    const { address, ...person } = newPerson();
    for (const path of ["sign-up/email", "sign-in/email", "get-session", "update-user"]) {
      await problemOf(404, callAs({ address }, "POST", `/api/auth/${path}`, person));
    }
  });
});

describe("sessions", () => {
  test("signing in sets a cookie that pages' scripts can't read, and says who is there", async () => {
    const member = await makeMember();
    const { email, address } = member;
    const answer = await callAs({ address }, "POST", "/api/auth/sign-in", {
      email,
      password: PASSWORD,
    });
    expect(answer.status).toBe(200);
    const [cookie = ""] = answer.headers.getSetCookie();
    expect(cookie).toMatch(/^__Secure-dialout\.session_token=/);
    for (const attribute of ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"]) {
      expect(cookie).toContain(attribute);
    }
    const me = await callAs({ cookie: cookiesOf(answer), address }, "GET", "/api/me");
    expect(await me.json()).toMatchObject({ user: { id: member.id, role: "member" } });
  });

  test("a wrong password and an unknown user are refused alike", async () => {
    const { email, address } = await makeMember();
    const wrong = { email, password: "not the password" };
    const unknown = { email: "nobody@example.com", password: "not the password" };
    const answers = await Promise.all(
      [wrong, unknown].map((body) =>
        problemOf(401, callAs({ address }, "POST", "/api/auth/sign-in", body)),
      ),
    );
    expect(answers[0]).toEqual(answers[1]);
  });

  test("signing out ends the session at once", async () => {
    const member = await makeMember();
    expect((await callAs(member, "POST", "/api/auth/sign-out")).status).toBe(204);
    expect(await (await callAs(member, "GET", "/api/me")).json()).toEqual({ user: null });
  });

  test("a session can be listed and ended from another", async () => {
    const member = await makeMember();
    const { email, address } = member;
    const second = await callAs({ address }, "POST", "/api/auth/sign-in", {
      email,
      password: PASSWORD,
    });
    const other = { cookie: cookiesOf(second), address };
    const listed = await callAs(other, "GET", "/api/me/sessions");
    const { sessions } = await listed.json<{ sessions: { id: string; current: boolean }[] }>();
    expect(sessions.map(({ current }) => current).sort()).toEqual([false, true]);
    const first = sessions.find(({ current }) => !current);
    expect((await callAs(other, "DELETE", `/api/me/sessions/${first?.id}`)).status).toBe(204);
    expect(await (await callAs(member, "GET", "/api/me")).json()).toEqual({ user: null });
  });

  test("nobody ends another's session", async () => {
    const [alice, bob] = [await makeMember(), await makeMember()];
    const listed = await callAs(alice, "GET", "/api/me/sessions");
    const { sessions } = await listed.json<{ sessions: { id: string }[] }>();
    await problemOf(404, callAs(bob, "DELETE", `/api/me/sessions/${sessions[0]?.id}`));
    expect(await (await callAs(alice, "GET", "/api/me")).json()).toMatchObject({
      user: { id: alice.id },
    });
  });

  test("a new password ends the other sessions, and the old one is good no more", async () => {
    const member = await makeMember();
    const { email, address } = member;
    const signIn = (password: string) =>
      callAs({ address }, "POST", "/api/auth/sign-in", { email, password });
    const other = { cookie: cookiesOf(await signIn(PASSWORD)), address };
    const body = { current_password: PASSWORD, new_password: "another long one" };
    expect((await callAs(other, "POST", "/api/me/password", body)).status).toBe(204);
    expect(await (await callAs(member, "GET", "/api/me")).json()).toEqual({ user: null });
    await problemOf(401, signIn(PASSWORD));
    expect((await signIn("another long one")).status).toBe(200);
  });

  test("a forged or altered cookie is nobody's", async () => {
    const { cookie, address } = await makeMember();
    const forged = cookie.replace(/=(.)/, (_, first) => `=${first === "A" ? "B" : "A"}`);
    expect(await (await callAs({ cookie: forged, address }, "GET", "/api/me")).json()).toEqual({
      user: null,
    });
  });

  test("a cookie that was there before is not kept: session fixation", async () => {
    const [victim, attacker] = [await makeMember(), await makeMember()];
    const { email, address } = victim;
    for (const cookie of [attacker.cookie, "dialout.session_token=chosen.by-an-attacker"]) {
      const body = { email, password: PASSWORD };
      const answer = await callAs({ cookie, address }, "POST", "/api/auth/sign-in", body);
      const got = cookiesOf(await expectStatus(200, answer));
      expect(got).not.toContain("chosen");
      expect(got).not.toBe(cookie);
      const me = await (await callAs({ cookie: got, address }, "GET", "/api/me")).json();
      expect(me).toMatchObject({ user: { id: victim.id } });
    }
    // What the attacker had is still theirs, and nobody else's.
    expect(await (await callAs(attacker, "GET", "/api/me")).json()).toMatchObject({
      user: { id: attacker.id },
    });
    const chosen = { cookie: "dialout.session_token=chosen.by-an-attacker", address };
    expect(await (await callAs(chosen, "GET", "/api/me")).json()).toEqual({ user: null });
  });

  test("attempts from one address are limited, those from others are not (H25)", async () => {
    const { email, address } = await makeMember();
    const attempt = (from: string) =>
      callAs({ address: from }, "POST", "/api/auth/sign-in", { email, password: "wrong password" });
    await useUpAttempts("192.0.2.99");
    expect((await attempt("192.0.2.99")).status).toBe(429);
    expect((await attempt(address)).status).toBe(401);
  });

  test("a network of IPv6 is one address: whoever has it can choose among billions (H25)", async () => {
    await useUpAttempts("2001:db8:77:1::1");
    const { address: _, ...person } = newPerson();
    const body = { ...person, key: "not the operator's key" };
    const from = (address: string) => callAs({ address }, "POST", "/api/auth/setup", body);
    await problemOf(429, from("2001:db8:77:1:ffff::2"));
    expect((await from("2001:db8:77:2::1")).status).not.toBe(429);
  });

  test("whoever floods an address doesn't lock out those who have signed in there before (H25a)", async () => {
    const [member, other] = [await makeMember(), await makeMember()];
    const address = "192.0.2.97";
    await useUpAttempts(address);
    const attempt = (cookie: string, email: string, password: string) =>
      callAs({ cookie, address }, "POST", "/api/auth/sign-in", { email, password });
    const { cookie, email } = member;
    expect((await attempt(cookie, email, PASSWORD)).status).toBe(200);
    // The browser is known to one account, and its cookie can't be made up.
    await problemOf(429, attempt(other.cookie, email, PASSWORD));
    await problemOf(429, attempt(cookie, other.email, PASSWORD));
    const forged = cookie.replace(/(dialout\.browser=)[^.]+/, "$1another");
    expect(forged).not.toBe(cookie);
    await problemOf(429, attempt(forged, email, PASSWORD));
    // It has no more attempts than an address has.
    let status = 0;
    while (status !== 429) ({ status } = await attempt(cookie, email, "a wrong password"));
  });

  test("attempts to change a password count for the session: it must not help to guess it (H25b)", async () => {
    const address = "192.0.2.98";
    const [thief, other] = [
      { cookie: (await makeMember()).cookie, address },
      { cookie: (await makeMember()).cookie, address },
    ];
    const wrong = { current_password: "not the password", new_password: PASSWORD };
    const attempt = (from: typeof thief) => callAs(from, "POST", "/api/me/password", wrong);
    await problemOf(422, attempt(thief));
    const listed = await callAs(thief, "GET", "/api/me/sessions");
    const { sessions } = await listed.json<{ sessions: { id: string }[] }>();
    // As if it had tried as often as it may: each attempt takes long.
    const key = `session ${sessions[0]?.id}`;
    while ((await env.SIGN_INS.limit({ key })).success);
    await problemOf(429, attempt(thief));
    await problemOf(429, attempt({ ...thief, address: "192.0.2.95" }));
    await problemOf(422, attempt(other));
  });

  test("a session that began while its account was disabled is nobody's", async () => {
    const admin = await makeMember("admin");
    // As if the sign-in had looked before and stored the session after it.
    const disable = env.DB.prepare('UPDATE "user" SET "disabledAt" = ? WHERE id = ?');
    await disable.bind(new Date().toISOString(), admin.id).run();
    await problemOf(401, callAs(admin, "GET", "/api/users"));
    expect(await (await callAs(admin, "GET", "/api/me")).json()).toEqual({ user: null });
  });
});

describe("other pages", () => {
  test("can't use a session: CSRF", async () => {
    const admin = await makeMember("admin");
    const name = `csrf-${crypto.randomUUID().slice(0, 8)}`;
    for (const headers of [{ origin: "https://evil.test" }, {}] as Record<string, string>[]) {
      await problemOf(401, callAs(admin, "POST", "/api/spaces", { name }, headers));
    }
    expect((await callAs(admin, "POST", "/api/spaces", { name }, OWN_PAGE)).status).toBe(201);
  });

  test("aren't told who is signed in (H9)", async () => {
    const member = await makeMember();
    const evil = { origin: "https://evil.test" };
    const told = await callAs(member, "GET", "/api/me", undefined, evil);
    expect(await told.json()).toEqual({ user: null });
    expect(told.headers.getSetCookie()).toEqual([]);
  });

  test("need the CSRF token whatever else a browser adds, such as a proxy's password (F2)", async () => {
    const { cookie, address } = await makeMember();
    const { name } = await makeSpace({ offline: "queue" });
    const basic = { "cf-connecting-ip": address, authorization: "Basic eDp5" };
    const submit = (headers: Record<string, string>) => {
      const body = new FormData();
      body.set("text", "hi");
      const path = `https://localhost/websockets/submit/${name}`;
      return exports.default.fetch(path, { method: "POST", body, headers });
    };
    expect((await submit({ ...basic, cookie, ...OWN_PAGE })).status).toBe(400);
    expect((await submit({ ...basic, cookie })).status).toBe(400);
    expect((await submit(basic)).status).toBe(401);
  });

  test("can't sign their visitors in or out", async () => {
    const { email, cookie, address } = await makeMember();
    const evil = { origin: "https://evil.test" };
    const body = { email, password: PASSWORD };
    await problemOf(403, callAs({ address }, "POST", "/api/auth/sign-in", body, evil));
    await problemOf(
      403,
      callAs({ cookie, address }, "POST", "/api/auth/sign-out", undefined, evil),
    );
    expect(await (await callAs({ cookie, address }, "GET", "/api/me")).json()).not.toEqual({
      user: null,
    });
  });
});

describe("admins", () => {
  test("do what the operator's key does; members don't", async () => {
    const [admin, member] = [await makeMember("admin"), await makeMember()];
    const name = `admins-${crypto.randomUUID().slice(0, 8)}`;
    await problemOf(403, callAs(member, "POST", "/api/spaces", { name, visibility: "private" }));
    const made = await callAs(admin, "POST", "/api/spaces", { name, visibility: "private" });
    expect(made.status).toBe(201);
    await problemOf(404, callAs(member, "GET", `/api/spaces/${name}`));
    expect((await callAs(admin, "GET", `/api/spaces/${name}`)).status).toBe(200);
    for (const path of ["/api/users", "/api/invitations", "/metrics"]) {
      await problemOf(403, callAs(member, "GET", path));
      expect((await callAs(admin, "GET", path)).status).toBe(200);
    }
  });

  test("make admins, and take it back", async () => {
    const member = await makeMember();
    await call("PATCH", `/api/users/${member.id}`, { role: "admin" }, OPERATOR);
    expect((await callAs(member, "GET", "/api/users")).status).toBe(200);
    await call("PATCH", `/api/users/${member.id}`, { role: "member" }, OPERATOR);
    await problemOf(403, callAs(member, "GET", "/api/users"));
  });

  test("disable an account: its sessions end, and it can't sign in until they enable it", async () => {
    const member = await makeMember();
    const { email, address } = member;
    const signIn = () =>
      callAs({ address }, "POST", "/api/auth/sign-in", { email, password: PASSWORD });
    await call("PATCH", `/api/users/${member.id}`, { disabled: true }, OPERATOR);
    expect(await (await callAs(member, "GET", "/api/me")).json()).toEqual({ user: null });
    await problemOf(403, signIn());
    await call("PATCH", `/api/users/${member.id}`, { disabled: false }, OPERATOR);
    expect((await signIn()).status).toBe(200);
  });

  test("the last one stays: neither demoted nor disabled", async () => {
    const listed = await call("GET", "/api/users?limit=100", undefined, OPERATOR);
    const { users } = await listed.json<{ users: UserResource[] }>();
    const admins = users.filter((user) => user.role === "admin" && user.disabled_at === null);
    const [last, ...others] = admins;
    for (const { id } of others) {
      await call("PATCH", `/api/users/${id}`, { role: "member" }, OPERATOR);
    }
    for (const patch of [{ role: "member" }, { disabled: true }]) {
      const answer = call("PATCH", `/api/users/${last?.id}`, patch, OPERATOR);
      expect(await problemOf(409, answer)).toMatchObject({ code: "last_admin" });
    }
  });
});

describe("sockets", () => {
  test("of an admin's session do what the operator's key does (M1b)", async () => {
    const admin = await makeMember("admin");
    const { name } = await makeSpace({ visibility: "private" });
    const socket = { upgrade: "websocket", ...OWN_PAGE };
    const open = async (path: string) =>
      new TestSocket((await callAs(admin, "GET", path, undefined, socket)).webSocket as WebSocket);
    await (await open(`/api/spaces/${name}/ws`)).next("space.status");
    await (await open("/ws/monitor")).next("system_status");
    const rooms = await open("/ws");
    expect(await rooms.next("connection.established")).toMatchObject({ user_id: admin.id });
    const room = `space:${name}`;
    rooms.send({ type: "subscribe", room });
    expect(await rooms.next("space.status")).toMatchObject({ room });
  });
});
