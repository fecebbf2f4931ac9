// @vitest-environment happy-dom
// @vitest-environment-options {"settings": {"fetch": {"disableSameOriginPolicy": true}}}
import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import type { DialoutClient } from "../../src/client/index.ts";
import { type PublishToRoom, useJob, useRoom, useSpace } from "../../src/client/react.ts";
import { AT, type Frame, problem } from "../support/fake-subscriber-edge.ts";
import { freePort } from "../support/port.ts";
import { completed, connection, output, progress } from "./jobs.ts";
import { clientOf, JOB_ID, startClient } from "./start.ts";

const ROOM = "project:42";

afterEach(() => document.body.replaceChildren());

/** Renders in React's strict mode, which runs every effect twice. */
function render(...components: (() => string)[]) {
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  const children = components.map((component, key) => createElement(Shown, { key, of: component }));
  root.render(createElement(StrictMode, null, children));
  const unmount = () => root.unmount();
  onTestFinished(unmount);
  const shows = (text: string) =>
    expect.poll(() => container.textContent, { timeout: 5_000 }).toBe(text);
  return { shows, unmount };
}

function Shown({ of }: { of: () => string }) {
  return createElement("p", null, of());
}

function start() {
  return startClient({ WebSocket });
}

function event(offset: number, type = "project.updated"): Frame {
  return { type, room: ROOM, id: `id-${offset}`, offset, timestamp: AT, data: { project_id: 1 } };
}

describe("useJob", () => {
  const describeJob = (client: DialoutClient, id: string | null, share?: string) => () => {
    const job = useJob(client, id, { share });
    return [job.link, job.status, job.output, job.result, job.failure?.code].join("|");
  };

  test("opens a job by the token of a link, over a socket of its own", async () => {
    const { edge, client } = await start();
    const { shows } = render(describeJob(client, JOB_ID, "dos_a-token"));
    const socket = await edge.socket();
    expect(socket.path).toBe(`/api/jobs/${JOB_ID}/ws`);
    expect(socket.query.get("share")).toBe("dos_a-token");
    socket.send(connection(1), completed(1, "done"));
    await shows("closed|completed||done|");
  });

  test("shows a job from its first event to its result, over one socket", async () => {
    const { edge, client } = await start();
    const { shows } = render(describeJob(client, JOB_ID), describeJob(client, JOB_ID));
    await shows("connecting||||".repeat(2));
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), output(2, "a "), output(3, { n: 1 }));
    await shows('open|processing|a \n{"n":1}\n||'.repeat(2));
    socket.send(completed(4, "done"));
    await shows('closed|completed|a \n{"n":1}\n|done|'.repeat(2));
    expect(edge.unasked).toBe(0);
  });

  test("shows several jobs of a space, and the space itself, over one socket (S7)", async () => {
    const { edge, client } = await start();
    const other = JOB_ID.replace(/Z$/, "Y");
    const describeSpace = () => useSpace(client, "demo").link;
    const jobs = [JOB_ID, other].map((id) => describeJob(client, id));
    const { shows } = render(...jobs, describeSpace);
    const socket = await edge.socket();
    const about = { space: "demo", epoch: "s", recovered: false, timestamp: AT };
    socket.send({ type: "connection", ...about, offset: 0 });
    const { frames } = await socket.next("batch");
    expect(frames).toMatchObject([{ job_id: JOB_ID }, { job_id: other }]);
    const second = { ...completed(1, 2), job_id: other };
    socket.send({ ...connection(0), job_id: other }, second, connection(0), completed(1, 1));
    await shows("closed|completed||1|closed|completed||2|open");
    expect(edge.unasked).toBe(0);
  });

  test("drops the output of an attempt in vain (S5)", async () => {
    const { edge, client } = await start();
    const { shows } = render(describeJob(client, JOB_ID));
    const socket = await edge.socket();
    socket.send(connection(1), progress(1), output(2, "half"), output(3, "whole", 2));
    await shows("open|processing|whole||");
    socket.send(progress(4, { status: "failed", error: { code: "timeout", message: "Slow." } }));
    await shows("closed|failed|whole||timeout");
  });

  test("follows nothing while there is no job id", async () => {
    const { edge, client } = await start();
    const { shows } = render(describeJob(client, null));
    await shows("connecting||||");
    expect(edge.unasked).toBe(0);
  });

  test("stops following the job when the last component that shows it unmounts", async () => {
    const { edge, client } = await start();
    const { unmount } = render(describeJob(client, JOB_ID));
    const socket = await edge.socket();
    unmount();
    expect(await socket.closed).toBe(1000);
  });

  test("renders on a server without following anything", async () => {
    const { edge, client } = await start();
    const html = renderToString(createElement(Shown, { of: describeJob(client, JOB_ID) }));
    expect(html).toBe("<p>connecting||||</p>");
    expect(edge.unasked).toBe(0);
  });
});

describe("useSpace", () => {
  test("shows each status as it changes, and the error that ends it", async () => {
    const { edge, client } = await start();
    const { shows } = render(() => {
      const { status, link, error } = useSpace(client, "demo");
      return [link, status?.worker, status?.queue_size, error?.code].join("|");
    });
    const socket = await edge.socket();
    const counts = { queue_size: 3, processing: 0, estimated_wait_s: null };
    const status = { type: "space.status", space: "demo", worker: "connected", ...counts };
    const about = { space: "demo", epoch: "e", recovered: false, timestamp: AT };
    socket.send({ type: "connection", ...about, offset: 1 });
    socket.send({ ...status, offset: 1, timestamp: AT });
    await shows("open|connected|3|");
    socket.close(4401);
    await shows("closed|connected|3|not_authenticated");
  });
});

describe("useSpace in trouble", () => {
  const describeSpace = (client: DialoutClient, name: string) => () => {
    const { connection, error } = useSpace(client, name);
    return [connection.state, error?.code].join("|");
  };

  test("shows that nothing answers at the address, and no longer once the edge does", async () => {
    const html = { status: 404, headers: { "content-type": "text/html" } };
    const fetch = async () => new Response("<h1>Nothing here</h1>", html);
    const { edge, client } = await startClient({ WebSocket, fetch });
    edge.refuse(404);
    const { shows } = render(describeSpace(client, "demo"));
    await shows("not_an_edge|not_an_edge");
    const socket = await edge.socket();
    const about = { space: "demo", epoch: "e", recovered: false, timestamp: AT };
    socket.send({ type: "connection", ...about, offset: 1 });
    await shows("open|");
  });

  test("shows that an address can't be reached, and that a space does not exist", async () => {
    const fails = () => Promise.reject(new TypeError("Failed to fetch"));
    const url = `http://127.0.0.1:${await freePort()}`;
    const nowhere = clientOf({ url }, { WebSocket, fetch: fails });
    await render(describeSpace(nowhere, "demo")).shows("unreachable|unreachable");
    const refusal = { code: "space_not_found", title: "No such space", detail: "", status: 404 };
    const fetch = async () => Response.json({ ...refusal, type: "about:blank" }, { status: 404 });
    const { edge, client } = await startClient({ WebSocket, fetch });
    edge.refuse(404);
    await render(describeSpace(client, "demo")).shows("closed|space_not_found");
  });

  test("shows what is wrong with a name, or that there is no WebSocket, and the page goes on", async () => {
    const { client } = await start();
    await render(describeSpace(client, "")).shows("closed|invalid_request");
    const { WebSocket: native } = globalThis;
    Reflect.deleteProperty(globalThis, "WebSocket");
    onTestFinished(() => void Object.assign(globalThis, { WebSocket: native }));
    const without = clientOf({ url: "http://edge" });
    await render(describeSpace(without, "demo")).shows("closed|no_websocket");
  });
});

describe("useRoom", () => {
  test("shows the newest events, and shares the room's subscription", async () => {
    const { edge, client } = await start();
    const list = () => {
      const filter = { types: ["project.*"] };
      const { events, gaps, link } = useRoom(client, ROOM, { filter, limit: 2 });
      return [link, events.map(({ offset }) => offset).join(), gaps.length].join("|");
    };
    const { shows } = render(list, list);
    const socket = await edge.socket();
    socket.establish();
    const asked = await socket.subscribed();
    expect(asked.filter).toEqual({ types: ["project.*"] });
    await shows("open||0".repeat(2));
    socket.send(event(1), event(2), event(4, "project.deleted"));
    await shows("open|2,4|0".repeat(2));
    socket.drop();
    await shows("lost|2,4|0".repeat(2));
    const again = await edge.socket();
    again.establish();
    expect(await again.subscribed({ offset: 9 })).toMatchObject({ since: "e:4" });
    await shows("open|2,4|1".repeat(2));
  });

  const historyOf = (...offsets: number[]) => {
    const events = offsets.map((offset) => event(offset));
    const place = { room: ROOM, epoch: "e", offset: offsets[0] ?? 0, recovered: true, more: false };
    return { body: { ...place, next: "e:1", events } };
  };

  test("begins with the newest stored events, once in spite of strict mode, and shows who is there", async () => {
    const { edge, client } = await start();
    edge.answer = ({ path }) => {
      if (path.endsWith("/history")) return historyOf(3, 2);
      const users = [{ user_id: "ada", connections: 1, since: AT }];
      return { body: { room: ROOM, users, connections: 1 } };
    };
    const { shows } = render(() => {
      const { events, users, link } = useRoom(client, ROOM, { last: 2, presence: true });
      const names = users.map(({ user_id }) => user_id);
      return [link, events.map(({ offset }) => offset).join(), names.join()].join("|");
    });
    const socket = await edge.socket();
    socket.establish();
    expect(await socket.subscribed({ offset: 3 })).toMatchObject({ presence: true });
    socket.send(event(4), { type: "presence.joined", room: ROOM, user_id: "bo", timestamp: AT });
    await shows("open|2,3,4|ada,bo");
    const paths = edge.requests.map(({ path }) => path.split("/").at(-1)).sort();
    expect(paths).toEqual(["history", "presence"]);
    expect(edge.unasked).toBe(0);
  });

  test("publishes with a function that stays the same, and passes on why it failed", async () => {
    const { edge, client } = await start();
    edge.answer = (request) =>
      request.json().type === "a.b"
        ? { status: 201, body: { room: ROOM, id: "1", offset: 1, timestamp: AT, repeated: true } }
        : problem(403, "not_allowed", "Not yours.");
    const given = new Set<PublishToRoom>();
    const { shows } = render(() => {
      const { publish, link, events } = useRoom(client, ROOM);
      given.add(publish);
      return `${link} ${events.length}`;
    });
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    socket.send(event(1));
    await shows("open 1");
    expect(given.size).toBeLessThanOrEqual(2);
    const publish = [...given].at(-1);
    expect(await publish?.({ type: "a.b" })).toMatchObject({ offset: 1 });
    await expect(publish?.({ type: "a.c" })).rejects.toMatchObject({ code: "not_allowed" });
  });

  test("follows another room, or another client's, once it is given that", async () => {
    const { edge, client } = await start();
    const other = clientOf(edge, { WebSocket });
    const container = document.body.appendChild(document.createElement("div"));
    const root = createRoot(container);
    onTestFinished(() => root.unmount());
    const show = (of: DialoutClient, room: string) =>
      root.render(
        createElement(Shown, {
          of: () => {
            const { events, link } = useRoom(of, room);
            return [link, events.map(({ room, offset }) => `${room} ${offset}`)].join("|");
          },
        }),
      );
    const shows = (text: string) =>
      expect.poll(() => container.textContent, { timeout: 5_000 }).toBe(text);
    show(client, ROOM);
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed();
    socket.send(event(1));
    await shows(`open|${ROOM} 1`);
    show(client, "project:43");
    await shows("connecting|");
    await socket.subscribed();
    socket.send(event(2), { ...event(7), room: "project:43" });
    await shows("open|project:43 7");
    expect(await socket.next("unsubscribe")).toMatchObject({ room: ROOM });
    show(other, "project:43");
    const next = await edge.socket();
    next.establish();
    await next.subscribed();
    next.send({ ...event(8), room: "project:43" });
    await shows("open|project:43 8");
    expect(await socket.closed).toBe(1000);
  });

  test("begins anew after the last component that shows the room was gone for a while", async () => {
    const { edge, client } = await start();
    edge.answer = () => historyOf(5);
    const list = () => {
      const { events } = useRoom(client, ROOM, { last: 1 });
      return events.map(({ offset }) => offset).join();
    };
    const first = render(list);
    const socket = await edge.socket();
    socket.establish();
    await socket.subscribed({ offset: 5 });
    await first.shows("5");
    first.unmount();
    expect(await socket.closed).toBe(1000);
    edge.answer = () => historyOf(8);
    const second = render(list);
    const again = await edge.socket();
    again.establish();
    expect(await again.subscribed({ offset: 8 })).not.toHaveProperty("since");
    await second.shows("8");
  });
});
