import type { JobStatus } from "../../protocol/resources.ts";
import type { Job } from "../../queue/job.ts";
import { deliveryResourceOf, jobIdOf, jobResourceOf, type StoredLog } from "../render.ts";
import type { SpaceCore } from "../space-core.ts";
import { jobContextOf } from "../space-status.ts";

/** A page of jobs ends early if it would exceed this. An RPC call carries at most 32 MiB. */
const PAGE_BYTES = 8_388_608;

/** Reads jobs for the HTTP API, as JSON texts. */
export class JobReads {
  private readonly core: SpaceCore;

  constructor(core: SpaceCore) {
    this.core = core;
  }

  /** One job; `null` if there is no such job. */
  job(ulid: string): string | null {
    const job = this.core.jobs.get(ulid);
    if (job === null) return null;
    return JSON.stringify(jobResourceOf(job, this.logOf(job), jobContextOf(this.core, job)));
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

  /** One page of jobs, newest first. `before` is the last ULID of the previous page. */
  page(filter: { status?: JobStatus; before?: string; limit: number }): string {
    const { store, record } = this.core;
    const ulids = store.list({ ...filter, limit: filter.limit + 1 });
    const bodies: string[] = [];
    let bytes = 0;
    for (const ulid of ulids.slice(0, filter.limit)) {
      const body = this.job(ulid) ?? "";
      bytes += body.length;
      if (bodies.length > 0 && bytes > PAGE_BYTES) break;
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
