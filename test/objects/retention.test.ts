import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import {
  connectWorker,
  makeSpace,
  type NamedSpace,
  objectOf,
  runSql,
  submit,
  TestSocket,
} from "./support.ts";

const KB = 1_024;
/** How many MiB of finished jobs the edge of the tests keeps in a space. */
const KEPT_MB = 4;

async function storedJobs(space: NamedSpace) {
  const query = "SELECT COUNT(*) AS jobs, SUM(LENGTH(input) + LENGTH(result)) AS bytes FROM jobs";
  const [row] = await runSql<{ jobs: number; bytes: number }>(space, query);
  return row ?? { jobs: 0, bytes: 0 };
}

describe("the storage of a space", () => {
  it("stays bounded under more traffic than fits: the oldest ended jobs are erased, but no open one (C11c)", async () => {
    const space = await makeSpace();
    const { socket: worker } = await connectWorker(space, { concurrency: 2 });
    const kept = await submit(space.name, { input: { first: true } });
    await worker.next("job");
    const text = "x".repeat(100 * KB);
    for (let round = 0; round < 120; round += 1) {
      const { id: job_id } = await submit(space.name, { input: { text } });
      await worker.next("job");
      worker.send({ type: "result", job_id, attempt: 1, output: round });
      await worker.next("ack");
      await runDurableObjectAlarm(objectOf(space));
    }
    const { jobs, bytes } = await storedJobs(space);
    expect(bytes).toBeLessThan((KEPT_MB + 1) * KB * KB);
    expect(jobs).toBeGreaterThan(20);
    worker.send({ type: "result", job_id: kept.id, attempt: 1, output: "late" });
    expect(await worker.next("ack")).toMatchObject({ job_id: kept.id });
    const viewer = await TestSocket.open(`/api/jobs/${kept.id}/ws`);
    expect(await viewer.next("progress")).toMatchObject({ status: "completed", result: "late" });
  });
});
