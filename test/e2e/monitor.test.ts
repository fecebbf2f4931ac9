import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { operatorKey } from "../../scripts/local.ts";
import { type SystemStatusFrame, systemStatusFrame } from "../../src/protocol/monitor.ts";
import { FrameSocket } from "../support/frame-socket.ts";
import { freePort } from "../support/port.ts";
import { runBareEdge } from "./bare-edge.ts";
import { EdgeClient } from "./client.ts";
import { makeState, type RunningEdge, removeState } from "./edge.ts";

/** Answers at once, except that the prompt `wait` takes ten minutes. */
const PROGRAM = `
  const { input } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  const end = () => console.log(JSON.stringify({ type: "result", output: input.prompt }));
  setTimeout(end, input.prompt === "wait" ? 600_000 : 0);`;

describe("the numbers of an edge that is killed with kill -9", () => {
  let state: string;
  let edge: RunningEdge;

  beforeEach(async () => {
    state = await makeState();
    edge = await runBareEdge(state, await freePort());
  });
  afterEach(async () => {
    await edge.program.killAll();
    await removeState(state);
  });

  async function watch(): Promise<
    (wanted: (status: SystemStatusFrame) => boolean) => Promise<unknown>
  > {
    const socket = await FrameSocket.open(`${edge.url}/ws/monitor?token=${operatorKey()}`);
    return (wanted) => socket.next((frame) => wanted(systemStatusFrame.parse(frame)));
  }

  it("are right after the restart: jobs as they were stored, and only sockets that have reconnected (M4)", async () => {
    const client = new EdgeClient(edge.url);
    const before = await watch();
    const space = await client.makeSpace({ job_timeout_s: 600 });
    const quiet = await client.makeSpace();
    await client.startWorker(space, ["exec", "--", "node", "-e", PROGRAM]);
    for (const prompt of ["one", "two"]) {
      await client.ended((await client.submit(space.name, { prompt })).id);
    }
    await client.submit(space.name, { prompt: "wait" });
    const { id: waiting } = await client.submit(space.name, { prompt: "three" });
    for (const path of [`/api/spaces/${quiet.name}/ws`, `/ws/${waiting}`]) {
      await FrameSocket.open(edge.url + path);
    }
    const jobs = { total: 4, active: 2, completed: 2, failed: 0, canceled: 0 };
    await before((status) => {
      const { total_connections, jobs_with_connections } = status.websockets;
      return status.jobs.total === 4 && total_connections === 3 && jobs_with_connections === 1;
    });
    const { id: last } = await client.submit(space.name, { prompt: "four" });
    await edge.program.killAll();
    edge = await runBareEdge(state, Number(new URL(edge.url).port));
    const after = await watch();
    // The worker dials again by itself. No close was reported for the other two sockets, but they must
    // not be counted.
    await after(({ jobs: { total }, websockets: { total_connections, jobs_with_connections } }) => {
      return total === 5 && total_connections === 1 && jobs_with_connections === 0;
    });
    const headers = { authorization: `Bearer ${operatorKey()}` };
    const metrics = await (await client.call("GET", "/metrics", undefined, headers)).text();
    expect(metrics).toContain('dialout_jobs{status="completed"} 2\n');
    expect(metrics).toContain("dialout_jobs_active 3\n");
    expect(await client.asOperator("GET", "/api/v1/websocket/stats")).toMatchObject({
      jobs: { ...jobs, total: 5, active: 3 },
      websockets: { total_connections: 1, jobs_with_connections: 0 },
    });
    expect(await client.job(last)).toMatchObject({ status: "queued" });
  });
});
