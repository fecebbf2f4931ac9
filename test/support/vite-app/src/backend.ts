import { Broadcaster } from "dialout/broadcaster";
import { DialoutClient, isEvent } from "dialout/client";
import { RemoteWorker } from "dialout/worker";

/** Is type-checked and loaded by Node.js; the clients it creates never connect. */
export const broadcaster = new Broadcaster({ url: "https://edge.example", token: "key" });
export const client = new DialoutClient({ url: "https://edge.example" });
export const worker = new RemoteWorker({
  url: "https://edge.example",
  space: "demo",
  token: "token",
  handler: async (job) => String(job.input.prompt).toUpperCase(),
});

export async function announce(): Promise<void> {
  await broadcaster.broadcastWorkflowProgress(42, { workflow_id: 7, progress: 50 });
  // @ts-expect-error: progress is a number
  await broadcaster.broadcastWorkflowProgress(42, { workflow_id: 7, progress: "half" });
  // @ts-expect-error: there is no such event
  broadcaster.broadcastNothing;
  for await (const event of client.room("project:42").events()) {
    if (event.type === "gap") console.log(event.after, event.until);
    else if (isEvent(event, "workflow.progress")) console.log(event.data.progress.toFixed());
    else console.log(event.data);
  }
}
