import { describe, expect, test } from "vitest";
import { problem } from "../support/fake-subscriber-edge.ts";
import { jobResource } from "./jobs.ts";
import { JOB_ID, speedTimeUp, startClient, tokenFor } from "./start.ts";

const ROOM = "project:42";

/** A token function that returns a different token each time, and the list of those returned. */
function issuer(seconds: (count: number) => number) {
  const given: string[] = [];
  const token = async () => {
    given.push(tokenFor(seconds(given.length), `ada-${given.length}`));
    return given.at(-1) ?? null;
  };
  return { given, token };
}

describe("a token", () => {
  test("is requested once, and again only when it is about to expire", async () => {
    const { given, token } = issuer((count) => (count === 0 ? 4 : 600));
    const { edge, client } = await startClient({ token });
    edge.answer = () => ({ body: jobResource() });
    const job = client.job(JOB_ID);
    await Promise.all([job.get(), job.get()]);
    expect(given).toHaveLength(1);
    await job.get();
    await job.get();
    expect(given).toHaveLength(2);
    const used = edge.requests.map(({ headers }) => headers.authorization);
    expect(used.slice(2)).toEqual([`Bearer ${given[1]}`, `Bearer ${given[1]}`]);
  });

  test("that is refused over HTTP is replaced once", async () => {
    const { given, token } = issuer(() => 600);
    const { edge, client } = await startClient({ token });
    edge.answer = ({ headers }) =>
      headers.authorization === `Bearer ${given[1]}`
        ? { body: jobResource() }
        : problem(401, "not_authenticated", "The token has expired.");
    expect((await client.job(JOB_ID).get()).id).toBe(JOB_ID);
    edge.answer = () => problem(401, "not_authenticated", "No.");
    await expect(client.job(JOB_ID).get()).rejects.toMatchObject({ code: "not_authenticated" });
    expect(given).toHaveLength(3);
  });

  test("that is refused over a socket is replaced, and the rooms continue", async () => {
    const { given, token } = issuer(() => 600);
    const { edge, client } = await startClient({ token });
    client.room(ROOM).subscribe({});
    const first = await edge.socket();
    const refusal = { code: "not_authenticated", message: "The token has expired." };
    first.send({ type: "connection.error", ...refusal });
    first.close(4401);
    const second = await edge.socket();
    expect(second.protocols).toEqual(["dialout.v1", `dialout.token.${given[1]}`]);
    second.establish();
    await second.subscribed();
  });

  test("that is refused twice ends every subscription with the edge's reason", async () => {
    const { token, given } = issuer(() => 600);
    const { edge, client } = await startClient({ token });
    const following = client.room(ROOM).subscribe({});
    for (const message of ["Expired.", "Still not."]) {
      const socket = await edge.socket();
      socket.send({ type: "connection.error", code: "not_authenticated", message });
      socket.close(4401);
    }
    const reason = { code: "not_authenticated", message: "Still not." };
    expect(await following.closed).toMatchObject(reason);
    expect(given).toHaveLength(2);
  });

  test("that is fixed and refused ends every subscription at once", async () => {
    const { edge, client } = await startClient({ token: "a.b.c" });
    const following = client.room(ROOM).subscribe({});
    (await edge.socket()).close(4401, "The token is wrong.");
    const reason = { code: "not_authenticated", message: "The token is wrong." };
    expect(await following.closed).toMatchObject(reason);
  });

  test("is renewed on the same socket, on the edge's warning and before it expires (R11)", async () => {
    const { given, token } = issuer(() => 6_000);
    const { edge, client } = await startClient({ token });
    client.room(ROOM).subscribe({});
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    socket.send({ type: "connection.expiring", expires_at: new Date().toISOString() });
    const { token: second, ref } = await socket.next("authenticate");
    expect(second).toBe(given[1]);
    const expires_at = new Date(Date.now() + 2_000).toISOString();
    socket.send({ type: "authenticated", user_id: "ada", expires_at, ref });
    expect((await socket.next("authenticate")).token).toBe(given[2]);
    expect(edge.unasked).toBe(0);
  });

  test("that is always reported as expiring is not renewed constantly (R11)", async () => {
    const { given, token } = issuer(() => 20);
    const { edge, client } = await startClient({ token });
    speedTimeUp();
    client.room(ROOM).subscribe({});
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    const expiring = { type: "connection.expiring", expires_at: new Date().toISOString() };
    socket.send(expiring);
    const { ref } = await socket.next("authenticate");
    const expires_at = new Date(Date.now() + 20_000).toISOString();
    const authenticated = { type: "authenticated", user_id: "ada", expires_at, ref };
    socket.send(authenticated, expiring);
    const answeredAt = Date.now();
    await socket.next("authenticate");
    expect(Date.now() - answeredAt).toBeGreaterThan(4_000);
    expect(given).toHaveLength(3);
  });

  test("that can't be obtained is requested again, and the subscriber gets the reason", async () => {
    let count = 0;
    const token = () => {
      count += 1;
      if (count === 1) throw new Error("the accounts are down");
      return "a.b.c";
    };
    const { edge, client } = await startClient({ token });
    const links: unknown[] = [];
    client.job(JOB_ID).follow({ onLink: (state, error) => links.push([state, error?.code]) });
    expect((await edge.socket()).protocols).toContain("dialout.token.a.b.c");
    expect(links).toEqual([["lost", "invalid_token"]]);
  });

  test("with characters that a subprotocol can't contain ends the subscription with a reason", async () => {
    const { client } = await startClient({ token: "key with spaces" });
    const following = client.job(JOB_ID).follow({});
    expect(await following.closed).toMatchObject({ code: "invalid_token" });
  });
});
