import type { Command } from "commander";
import { POSITION } from "../src/protocol/values.ts";
import { accessTo, addEdgeOptions, type EdgeOptions } from "./edge-options.ts";
import { UsageError } from "./explain.ts";
import { followToEnd } from "./follow-to-end.ts";
import { addOutputOptions, type OutputOptions, printingOf, screenFor } from "./output-options.ts";
import { prepareFolder } from "./save-outputs.ts";

type FollowCliOptions = EdgeOptions & OutputOptions & { since?: string };
type CancelCliOptions = EdgeOptions & { json: boolean };

/** The commands about a job that was submitted already. */
export function addJobCommands(root: Command): void {
  const follow = root
    .command("follow")
    .description("print the output of a job, from its beginning until it ends")
    .argument("<job>", "the job's id")
    .option("--since <position>", "go on after this position, as an event of --json names it");
  addOutputOptions(addEdgeOptions(follow)).action(followJob);

  addEdgeOptions(root.command("cancel"))
    .description("cancel a job")
    .argument("<job>", "the job's id")
    .option("--json", "print the job as a line of JSON", false)
    .action(cancelJob);
}

async function followJob(id: string, options: FollowCliOptions): Promise<void> {
  const { since, save } = options;
  if (since !== undefined && !POSITION.test(since)) {
    throw new UsageError(
      `--since ${since} is no position`,
      "it is the `position` of an event of --json",
    );
  }
  if (save !== undefined) await prepareFolder(save);
  const edge = accessTo(options);
  const screen = screenFor(options);
  const job = edge.client.job(id);
  // A socket would wait for a job that doesn't exist, if it may be made yet.
  await job.get();
  const printing = printingOf(options);
  process.exitCode = await followToEnd({ job, screen, printing, since, saveTo: save });
}

async function cancelJob(id: string, options: CancelCliOptions): Promise<void> {
  const { client } = accessTo(options);
  const screen = screenFor({ quiet: false });
  const job = await client.job(id).cancel();
  if (options.json) screen.line(JSON.stringify(job));
  else if (job.status === "canceled") screen.line("canceled");
  else if (job.status === "processing")
    screen.line("the worker is asked to stop: dialout follow shows the end");
  else screen.line(`the job had ended already: ${job.status}`);
}
