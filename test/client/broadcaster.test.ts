import { describe, expect, expectTypeOf, test } from "vitest";
import { Broadcaster, type Broadcasts } from "../../src/client/broadcaster.ts";
import { EVENT_DATA, publishedEvent } from "../../src/protocol/room-events.ts";
import { AT, FakeSubscriberEdge, problem } from "../support/fake-subscriber-edge.ts";

async function start() {
  const edge = await FakeSubscriberEdge.start();
  edge.answer = (request) => {
    const { type, data, id } = publishedEvent.parse(request.json());
    const room = decodeURIComponent(request.path.split("/")[3] ?? "");
    const body = { type, room, id, offset: 1, timestamp: AT, data, repeated: false };
    return { status: 201, body };
  };
  return { edge, broadcaster: new Broadcaster({ url: edge.url, token: "key" }) };
}

describe("a broadcaster", () => {
  test("has a method for every known event type, which publishes it to the right room", async () => {
    const { broadcaster: b } = await start();
    const published = await Promise.all([
      b.broadcastProjectUpdated(42, { name: "Ada" }),
      b.broadcastProjectDeleted("42"),
      b.broadcastAgentStatusChanged("a1", { status: "busy" }),
      b.broadcastAgentConnected("a1"),
      b.broadcastAgentDisconnected("a1", { reason: "gone" }),
      b.broadcastWorkflowStarted(42, { workflow_id: 1 }),
      b.broadcastWorkflowProgress(42, { workflow_id: 1, progress: 50 }),
      b.broadcastWorkflowCompleted(42, { workflow_id: 1 }),
      b.broadcastWorkflowFailed(42, { workflow_id: 1, error: "No." }),
      b.broadcastPrCreated("repo:dialout", { pr_id: 7 }),
      b.broadcastPrUpdated("repo:dialout", { pr_id: 7 }),
      b.broadcastPrClosed("repo:dialout", { pr_id: 7 }),
      b.broadcastIssueCreated(42, { issue_id: 8 }),
      b.broadcastIssueUpdated(42, { issue_id: 8 }),
      b.broadcastIssueClosed(42, { issue_id: 8 }),
      b.broadcastAiSuggestion("user:ada", { suggestion: "Rest." }),
      b.broadcastAiAnalysisComplete("global"),
    ]);
    const events = published.flatMap((event) => (event.repeated ? [] : [event]));
    const named = events.map(({ type }) => type).sort();
    expect(named).toEqual(Object.keys(EVENT_DATA).sort());
    const rooms = Object.fromEntries(events.map(({ type, room }) => [type, room]));
    expect(rooms).toMatchObject({
      "project.deleted": "project:42",
      "agent.connected": "agent:a1",
      "workflow.failed": "project:42",
      "pr.closed": "repo:dialout",
      "ai.suggestion": "user:ada",
      "ai.analysis_complete": "global",
    });
    expect(events[0]?.data).toEqual({ name: "Ada", project_id: "42" });
  });

  test("publishes custom event types", async () => {
    const { edge, broadcaster } = await start();
    const published = await broadcaster.publish("team:7", "build.green", { n: 1 }, { id: "b-1" });
    expect(published).toMatchObject({ type: "build.green", room: "team:7", id: "b-1" });
    expect(edge.requests[0]?.headers.authorization).toBe("Bearer key");
  });

  test("retries with the same id after no answer, a passing failure or a rate limit (R16)", async () => {
    const { edge, broadcaster } = await start();
    const { answer } = edge;
    const failures = ["drop" as const, problem(503, "unavailable"), problem(429, "rate_limited")];
    edge.answer = (request) => failures.shift() ?? answer(request);
    const published = await broadcaster.broadcastProjectDeleted(1);
    const ids = edge.requests.map((request) => request.json().id);
    expect(ids).toEqual(Array(4).fill(published.id));
  });

  test("does not retry an event that the edge refuses for good", async () => {
    const { edge, broadcaster } = await start();
    edge.answer = () => problem(403, "not_allowed", "Not yours.");
    const refused = broadcaster.broadcastProjectDeleted(1);
    await expect(refused).rejects.toMatchObject({ code: "not_allowed", status: 403 });
    expect(edge.requests).toHaveLength(1);
  });

  test("accepts only the data that an event type defines", () => {
    type Progress = Parameters<Broadcasts["broadcastWorkflowProgress"]>[1];
    expectTypeOf<{ workflow_id: number; progress: number }>().toExtend<Progress>();
    expectTypeOf<{ workflow_id: number }>().not.toExtend<Progress>();
    type Changed = Parameters<Broadcasts["broadcastAgentStatusChanged"]>[1];
    expectTypeOf<{ status: string }>().toExtend<Changed>();
    expectTypeOf<Record<never, never>>().not.toExtend<Changed>();
    expectTypeOf<Parameters<Broadcasts["broadcastAgentConnected"]>[1]>().toExtend<
      object | undefined
    >();
    type Names = keyof Broadcasts;
    expectTypeOf<"broadcastAiAnalysisComplete">().toExtend<Names>();
    expectTypeOf<"broadcastAiAnalysiscomplete">().not.toExtend<Names>();
  });
});
