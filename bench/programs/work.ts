/** The remote worker: answers every job with its input. */
import { type Dial, DialoutWorker } from "../clients/dialout-worker.ts";
import { openSocket } from "../clients/socket.ts";
import { answerCalls } from "./child.ts";

export type Work =
  | ({ kind: "dialout" } & Dial)
  | { kind: "relay" | "socketio"; url: string }
  | { kind: "bullmq"; port: number; concurrency: number };

const calls = {
  /** Resolves once it takes jobs. */
  start,
  /** Of a worker that holds its jobs back: lets so many go, and resolves with the time it took. */
  release(jobs: number): Promise<number> {
    return dialout().release(jobs);
  },
  /** Results the edge has acknowledged. */
  answered(): number {
    return dialout().answered;
  },
  /** Says goodbye: its place is free when this resolves. */
  leave(): Promise<void> {
    return dialout().leave();
  },
};
export type WorkCalls = typeof calls;

let dialoutWorker: DialoutWorker | null = null;
answerCalls(calls);

function dialout(): DialoutWorker {
  if (!dialoutWorker) throw new Error("this is no worker of Dialout");
  return dialoutWorker;
}

async function start(work: Work): Promise<void> {
  switch (work.kind) {
    case "dialout":
      dialoutWorker = await DialoutWorker.connect(work);
      return;
    case "relay": {
      const socket = await openSocket(work.url, ({ job_id, input }) => {
        socket.send(JSON.stringify({ type: "result", job_id, output: input }));
      });
      return;
    }
    case "socketio": {
      const { connected, connectSocketIo } = await import("../clients/socketio.ts");
      const socket = connectSocketIo(work.url);
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
      const { port, concurrency } = work;
      const options = { ...redisAt(port), concurrency };
      await new Worker(QUEUE, async (job) => job.data, options).waitUntilReady();
    }
  }
}
