/// <reference lib="dom" />
import { type Job, RemoteWorker } from "../../worker-client/browser/index.ts";
import { pause } from "../../worker-client/pause.ts";

/** Does the jobs of the conformance suite that need no files. */
async function perform({ input, signal, output, progress }: Job) {
  const { echo, sleep_s, block_s, pieces, pause_s = 0, size } = input;
  if (echo !== undefined) return echo;
  if (sleep_s !== undefined) await pause(Number(sleep_s) * 1_000, signal);
  else if (block_s !== undefined) await pause(Number(block_s) * 1_000);
  else if (pieces !== undefined) {
    for (let number = 0; number < Number(pieces); number += 1) {
      output(size === undefined ? number : "x".repeat(Number(size)));
      progress((100 * (number + 1)) / Number(pieces));
      await pause(Number(pause_s) * 1_000, signal);
    }
    return pieces;
  } else throw new Error("This worker doesn't know the test job.");
  return "done";
}

const settings = Object.fromEntries(new URLSearchParams(location.search));
const { url = "", space = "", token = "" } = settings;
const worker = new RemoteWorker({ url, space, token, handler: perform });
const run = worker.run().then(
  () => "ended",
  (error: unknown) => String(error),
);
Object.assign(window, { run, drain: () => void worker.drain("SIGTERM") });
