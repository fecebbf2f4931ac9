import { type Job, JobFailure, RemoteWorker, tabWorkerId } from "dialout/worker/browser";

async function perform(job: Job) {
  const [file] = job.files;
  if (file === undefined) throw new JobFailure("worker_error", "A file is needed.");
  const copy = new Blob([await file.download()], { type: file.contentType });
  await job.file("copy.bin", copy);
  return { bytes: copy.size };
}

/** Serves a space from a tab, and shows the state of it. */
export async function serveFromTab(
  edge: { url: string; space: string; token: string },
  show: (text: string) => void,
): Promise<void> {
  const worker = new RemoteWorker({
    ...edge,
    workerId: await tabWorkerId(edge.space),
    handler: perform,
    onState: (state) => show(state.phase),
  });
  await worker.run();
}
