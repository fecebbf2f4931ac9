/** The remote worker: answers every job with its input. */
import { DialoutWorker, type DialoutWorkerOptions } from "../clients/dialout-worker.ts";
import { openSocket } from "../clients/socket.ts";
import { answerCalls } from "./child.ts";

export type WorkerTarget =
  | ({ kind: "dialout" } & DialoutWorkerOptions)
  | { kind: "relay" | "socketio"; url: string }
  | { kind: "bullmq"; port: number; concurrency: number };

const calls = {
  /** Resolves once the worker takes jobs. */
  start,
  /** Lets a worker with `holdResults` answer `jobs` jobs; resolves with the milliseconds it took. */
  release(jobs: number): Promise<number> {
    return dialout().release(jobs);
  },
  /** How many results the edge has acknowledged. */
  acknowledged(): number {
    return dialout().acknowledged;
  },
  /** Closes with 1000; the worker's place in the space is free when this resolves. */
  disconnect(): Promise<void> {
    return dialout().disconnect();
  },
};
export type WorkerCalls = typeof calls;

let dialoutWorker: DialoutWorker | null = null;
answerCalls(calls);

function dialout(): DialoutWorker {
  if (!dialoutWorker) throw new Error("this is not a worker of Dialout");
  return dialoutWorker;
}

async function start(target: WorkerTarget): Promise<void> {
  switch (target.kind) {
    case "dialout":
      dialoutWorker = await DialoutWorker.connect(target);
      return;
    case "relay": {
      const socket = await openSocket(target.url, ({ job_id, input }) => {
        socket.send(JSON.stringify({ type: "result", job_id, output: input }));
      });
      return;
    }
    case "socketio": {
      const { connected, connectSocketIo } = await import("../clients/socketio.ts");
      const socket = connectSocketIo(target.url);
      socket.on("job", ({ job_id, input }) => socket.emit("result", { job_id, output: input }));
      await connected(socket);
      socket.emit("serve", {});
      return;
    }
    case "bullmq": {
      const [{ Worker }, { QUEUE, redisAt }] = await Promise.all([
        import("bullmq"),
        import("../clients/bullmq.ts"),
      ]);
      const { port, concurrency } = target;
      const options = { ...redisAt(port), concurrency };
      await new Worker(QUEUE, async (job) => job.data, options).waitUntilReady();
    }
  }
}
