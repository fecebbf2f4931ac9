import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import type { DeliveryResource, JobResource } from "../../src/protocol/resources.ts";
import { EdgeClient } from "./client.ts";

interface WebhookRequest {
  headers: Record<string, string>;
  body: string;
  type: string;
  data: JobResource;
}

const edge = new EdgeClient(inject("edgeUrl"));

/** Starts an endpoint that answers with these statuses in turn, and then with 204. */
async function startEndpoint(statuses: number[] = []) {
  const received: WebhookRequest[] = [];
  let wake: () => void = () => undefined;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const body = Buffer.concat(pieces).toString();
      const headers = request.headers as Record<string, string>;
      received.push({ headers, body, ...JSON.parse(body) });
      response.writeHead(statuses.shift() ?? 204).end();
      wake();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const until = async (enough: () => boolean) => {
    while (!enough()) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    until,
  };
}

async function submitWith(webhook: unknown, program: string) {
  const space = await edge.makeSpace();
  await edge.startWorker(space, ["exec", "--", "node", "-e", program]);
  const response = await edge.call("POST", `/api/spaces/${space.name}/jobs`, {
    input: {},
    webhook,
  });
  expect(response.status).toBe(202);
  return { space, job: (await response.json()) as JobResource };
}

describe("a webhook", () => {
  it("is sent start, output, logs and end, each signed with the secret of the space (H14)", async () => {
    const endpoint = await startEndpoint();
    const program = `
      console.log("a piece");
      console.log(JSON.stringify({ type: "progress", progress: 50 }));
      setTimeout(() => console.log("the last"), 900);`;
    const { space, job } = await submitWith(endpoint.url, program);
    await endpoint.until(() => endpoint.received.some(({ type }) => type === "job.completed"));
    const types = new Set(endpoint.received.map(({ type }) => type));
    expect(types).toEqual(new Set(["job.start", "job.output", "job.logs", "job.completed"]));
    const path = `/api/spaces/${space.name}/webhook-secret`;
    const { secret } = await edge.asOperator<{ secret: string }>("GET", path);
    for (const { body, headers, data } of endpoint.received) {
      expect(() => new Webhook(secret).verify(body, headers)).not.toThrow();
      expect(data.id).toBe(job.id);
    }
    const last = endpoint.received.find(({ type }) => type === "job.completed");
    expect(last?.data).toMatchObject({ status: "completed", output: "a piece\nthe last\n" });
  });

  it("that fails is sent again with the same id, and the list of deliveries shows it (H14, H15)", async () => {
    const endpoint = await startEndpoint([500]);
    const webhook = { url: endpoint.url, events: ["completed"] };
    const { job } = await submitWith(webhook, "console.log(1)");
    await endpoint.until(() => endpoint.received.length === 2);
    expect(endpoint.received[1]?.headers["webhook-id"]).toBe(
      endpoint.received[0]?.headers["webhook-id"],
    );
    const read = async () => {
      const response = await edge.call("GET", `/api/jobs/${job.id}/webhooks`);
      return ((await response.json()) as { deliveries: DeliveryResource[] }).deliveries;
    };
    await expect
      .poll(read)
      .toMatchObject([
        { event: "completed", status: "delivered", attempts: 2, response_status: 204 },
      ]);
  });

  it("that hangs delays the messages of no other receiver by more than a second (H14g)", async () => {
    const hanging = createServer(() => undefined);
    await new Promise<void>((resolve) => hanging.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      hanging.closeAllConnections();
      hanging.close();
    });
    const hangs = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}/hook`;
    const endpoint = await startEndpoint();
    const space = await edge.makeSpace();
    await edge.startWorker(space, ["exec", "--", "true"]);
    const jobs = Array.from({ length: 30 }, () => ({ input: {}, webhook: hangs }));
    await edge.call("POST", `/api/spaces/${space.name}/jobs/batch`, { jobs });
    const { id } = await edge.submit(space.name, {});
    await edge.ended(id);
    const call = { input: {}, webhook: { url: endpoint.url, events: ["completed"] } };
    const response = await edge.call("POST", `/api/spaces/${space.name}/jobs`, call);
    await edge.ended(((await response.json()) as JobResource).id);
    const endedAt = performance.now();
    await endpoint.until(() => endpoint.received.length > 0);
    // Six hanging connections of ten seconds would come first.
    expect(performance.now() - endedAt).toBeLessThan(8_000);
  });
});
