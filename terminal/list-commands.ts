import { type Command, InvalidArgumentError, Option } from "commander";
import type { JobResource, SpaceResource } from "../src/client/index.ts";
import { JOB_STATUSES, type JobStatus } from "../src/protocol/resources.ts";
import { accessTo, addEdgeOptions, type EdgeOptions } from "./edge-options.ts";
import { screenFor } from "./output-options.ts";
import { duration } from "./progress-words.ts";
import { table } from "./table.ts";

type ListOptions = EdgeOptions & { json: boolean };
type JobsCliOptions = ListOptions & {
  status?: JobStatus;
  limit: number;
  cursor?: string;
  all: boolean;
};

const MOST_COLUMNS = 1_000;
/** The most entries that the edge gives at once. */
const PAGE = 100;

export function addListCommands(root: Command): void {
  addEdgeOptions(root.command("spaces"))
    .description("list the spaces that you may see")
    .option("--json", "print every space as a line of JSON", false)
    .action(listSpaces);

  addEdgeOptions(root.command("jobs"))
    .description("list a space's jobs, newest first: your own, or all of them if you manage it")
    .argument("<space>")
    .addOption(new Option("--status <status>", "only jobs in this state").choices(JOB_STATUSES))
    .option("--limit <n>", "how many", parseLimit, 20)
    .option("--cursor <cursor>", "go on after an earlier page")
    .option("--all", "list all of them", false)
    .option("--json", "print every job as a line of JSON", false)
    .action(listJobs);
}

async function listSpaces(options: ListOptions): Promise<void> {
  const { client } = accessTo(options);
  const spaces: SpaceResource[] = [];
  for (let cursor: string | undefined, isFirst = true; isFirst || cursor; isFirst = false) {
    const page = await client.spaces({ cursor, limit: PAGE });
    spaces.push(...page.spaces);
    cursor = page.next ?? undefined;
  }
  const head = ["SPACE", "WORKER", "WAITING", "RUNNING", "YOU MAY", "TITLE"];
  print(options, spaces, head, spaceRow, "no spaces that you may see");
}

function spaceRow({ name, title, status, access, visibility }: SpaceResource): string[] {
  const { worker, queue_size: waiting, processing } = status;
  return [name, worker, String(waiting), String(processing), access ?? visibility, title];
}

async function listJobs(space: string, options: JobsCliOptions): Promise<void> {
  const { client } = accessTo(options);
  const { status, all } = options;
  const jobs: JobResource[] = [];
  let cursor = options.cursor;
  for (;;) {
    const wanted = all ? PAGE : Math.min(options.limit - jobs.length, PAGE);
    const page = await client.space(space).jobs({ status, cursor, limit: wanted });
    jobs.push(...page.jobs);
    cursor = page.next ?? undefined;
    if (cursor === undefined || (!all && jobs.length >= options.limit)) break;
  }
  print(
    options,
    jobs,
    ["JOB", "STATUS", "CREATED", "TOOK", "USER", "ABOUT"],
    jobRow,
    "no such jobs",
  );
  if (cursor === undefined) return;
  const filter = status === undefined ? "" : ` --status ${status}`;
  screenFor({ quiet: false }).note(`more: dialout jobs ${space}${filter} --cursor ${cursor}`);
}

function jobRow(job: JobResource): string[] {
  const { id, status, progress, created_at, started_at, completed_at, user } = job;
  const state = status === "processing" ? `${status} ${Math.floor(progress)} %` : status;
  const tookS =
    started_at === null || completed_at === null
      ? null
      : (Date.parse(completed_at) - Date.parse(started_at)) / 1_000;
  return [
    id,
    state,
    `${created_at.slice(0, 10)} ${created_at.slice(11, 19)}Z`,
    tookS === null ? "" : duration(Math.round(tookS * 10) / 10),
    user ?? "",
    about(job),
  ];
}

function about({ error, message, input }: JobResource): string {
  return error?.message ?? message ?? (typeof input.prompt === "string" ? input.prompt : "");
}

function print<T>(
  { json }: { json: boolean },
  entries: readonly T[],
  head: readonly string[],
  rowOf: (entry: T) => string[],
  none: string,
): void {
  const screen = screenFor({ quiet: false });
  if (json) for (const entry of entries) screen.line(JSON.stringify(entry));
  else if (entries.length === 0) screen.note(none);
  else {
    // A terminal that doesn't know how wide it is says 0.
    const columns = process.stdout.isTTY ? process.stdout.columns || MOST_COLUMNS : null;
    for (const line of table(head, entries.map(rowOf), { columns })) screen.line(line);
  }
}

function parseLimit(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a whole number above 0.");
}
