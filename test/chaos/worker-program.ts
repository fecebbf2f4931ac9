/** A worker as a process that can be killed; it writes the begin and the end of every run to a file. */
import { appendFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Job, type Json, RemoteWorker } from "../../worker-client/index.ts";
import { expectedOf, pieceOf, workInput } from "./work.ts";

const [url = "", space = "", token = "", workerId = "", notes = ""] = process.argv.slice(2);

const worker = new RemoteWorker({
  url,
  space,
  token,
  workerId,
  concurrency: 4,
  backoff: { firstMs: 20, capMs: 200 },
  async handler(job) {
    appendFileSync(notes, `begin ${job.id}\n`);
    try {
      return await run(job);
    } finally {
      appendFileSync(notes, `leave ${job.id}\n`);
    }
  },
});
process.once("SIGTERM", () => void worker.drain());
console.log("dialing");
await worker.run();
process.exit();

async function run(job: Job): Promise<Json> {
  const work = workInput.parse(job.input);
  for (let index = 0; index < work.pieces; index += 1) {
    await sleep(work.ms / work.pieces, undefined, { signal: job.signal });
    job.output(pieceOf(work.n, index));
    job.progress((index / work.pieces) * 100);
  }
  return expectedOf(work).result;
}
