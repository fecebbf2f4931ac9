import { outputKey } from "../../files/file-keys.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { JobPlace } from "../../protocol/resources.ts";
import type { Job } from "../../queue/job.ts";
import { type OutputFile, outputsOf } from "../../queue/output-files.ts";
import type { JobFilter } from "../../storage/job-store.ts";
import type { SubmitReply } from "../calls.ts";
import { deliveryResourceOf, jobIdOf, jobResourceOf, type StoredLog, urlsOf } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { jobContextOf } from "../space-status.ts";
import type { SubmitOutcome } from "./submissions.ts";

/** Reads jobs for the HTTP API, as JSON texts. */
export class JobReads {
  private readonly core: SpaceCore;

  constructor(core: SpaceCore) {
    this.core = core;
  }

  /** One job; `null` if there is no such job. @param origin what the addresses of its output files begin with */
  job(ulid: string, origin = ""): string | null {
    const job = this.core.jobs.get(ulid);
    if (job === null) return null;
    const context = jobContextOf(this.core, job);
    const outputUrl = (file: OutputFile) => origin + context.outputUrl(file);
    return JSON.stringify(jobResourceOf(job, this.logOf(job), { ...context, outputUrl }));
  }

  /** Where an output file of a job is in the bucket, as JSON text; `null` if there is no such file. */
  outputKey(ulid: string, name: string): string | null {
    const job = this.core.jobs.get(ulid);
    const file = job && outputsOf(job).find((output) => output.name === name);
    return file ? JSON.stringify({ key: outputKey(this.core.record.name, file) }) : null;
  }

  /**
   * Every offset of a job is a change of status or an event of the log. So the number of offsets tells how many
   * events the log should have: none means that it need not be read, and fewer stored means that some were dropped.
   */
  private logOf({ ulid, offset, history, attempts }: Job): StoredLog {
    const { log } = this.core.store;
    const logged = offset - history.length;
    const events = logged > 0 ? log.after(ulid, 0) : [];
    return { events, lacksOutput: events.length < logged && log.lacksOutput(ulid, attempts) };
  }

  /**
   * The answers to submits that were made together. Jobs that this batch has made are given whole, because they are
   * no larger than what was sent. Those that were there before, or took their result from the cache, are given whole
   * as long as they fit into an answer, and then their places alone: a body of 13 KB may name a job of 1 MB a
   * thousand times.
   */
  replies(outcomes: readonly SubmitOutcome[]): SubmitReply[] {
    let room: number = LIMITS.batchAnswerBytes;
    return outcomes.map((outcome): SubmitReply => {
      if (!outcome.ok) return { ok: false, code: outcome.code, detail: outcome.message };
      const { ulid, from } = outcome;
      const isRepeat = from === "key";
      const isWhole = from === "submit" || outcomes.length === 1;
      // Once there is no room, sizes need not be read.
      if (!isWhole && room >= 0) room -= this.core.store.outlineOf(ulid)?.bytes ?? 0;
      const body = isWhole || room >= 0 ? this.job(ulid) : this.place(ulid);
      return { ok: true, body: body ?? "null", ulid, isRepeat };
    });
  }

  /** Where a job is to be found, for an answer that has no room for the job itself. */
  private place(ulid: string): string | null {
    const status = this.core.store.statusOf(ulid);
    if (status === null) return null;
    const { name } = this.core.record;
    const place: JobPlace = {
      id: jobIdOf(name, ulid),
      space: name,
      status,
      partial: true,
      urls: urlsOf(jobIdOf(name, ulid)),
    };
    return JSON.stringify(place);
  }

  /** One page of jobs, newest first. `before` is the last ULID of the previous page. */
  page(filter: JobFilter): string {
    const { store, record } = this.core;
    const ulids = store.list({ ...filter, limit: filter.limit + 1 });
    const bodies: string[] = [];
    let bytes = 0;
    for (const ulid of ulids.slice(0, filter.limit)) {
      const body = this.job(ulid) ?? "";
      bytes += body.length;
      if (bodies.length > 0 && bytes > LIMITS.pageBytes) break;
      bodies.push(body);
    }
    const last = bodies.length < ulids.length ? ulids[bodies.length - 1] : undefined;
    const next = last === undefined ? null : jobIdOf(record.name, last);
    return `{"jobs":[${bodies.join()}],"next_cursor":${JSON.stringify(next)}}`;
  }

  /** The messages to the job's webhook and how their delivery went; `null` if there is no such job. */
  deliveries(ulid: string): string | null {
    if (this.core.jobs.get(ulid) === null) return null;
    const deliveries = this.core.webhooks.ofJob(ulid).map(deliveryResourceOf);
    return JSON.stringify({ deliveries });
  }
}
