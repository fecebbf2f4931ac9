import { useMemo } from "preact/hooks";
import { JobFiles } from "./job-files.tsx";
import { JobOutput } from "./job-output.tsx";
import { JobResult } from "./job-result.tsx";
import { isTerminal, type Phase, type TabJob } from "./job-state.ts";
import type { PageSession } from "./page-session.ts";
import { ShareButton } from "./share-button.tsx";
import { formatSeconds, ordinal, statusWord } from "./wording.ts";

interface JobCardProps {
  job: TabJob;
  /** Why the job waits; `null` if it doesn't, or if that isn't known. */
  waiting: string | null;
  session: PageSession;
}

/** Renders again only if its own job or its reason for waiting changed, because other jobs may be streaming. */
export function JobCard({ job, waiting, session }: JobCardProps) {
  return useMemo(() => <Card {...{ job, waiting, session }} />, [job, waiting, session]);
}

function Card({ job, waiting, session }: JobCardProps) {
  const { phase } = job;
  return (
    <article
      class={`card job ${phase.status}`}
      data-testid="job"
      data-job-id={job.id}
      data-status={phase.status}
      aria-label={job.label === "" ? `Job ${job.id}` : job.label}
    >
      <p class="job-label">{job.label === "" ? "Job" : job.label}</p>
      {job.share !== null && (
        <p class="quiet small">Somebody shared this job with you by a link.</p>
      )}
      <StatusLine job={job} />
      {phase.status === "processing" && <ProgressBar progress={phase.progress} />}
      <Message text={phase.status === "processing" ? phase.message : waiting} />
      {job.note !== null && <p class="hint">{job.note}</p>}
      {job.output !== "" && <JobOutput job={job} />}
      <JobFiles job={job} session={session} />
      {phase.status === "completed" && <JobResult phase={phase} />}
      <Failure phase={phase} />
      <Actions job={job} session={session} />
      {job.share === null && <ShareButton id={job.id} />}
    </article>
  );
}

function StatusLine({ job }: { job: TabJob }) {
  const { phase } = job;
  const remaining = phase.status === "processing" ? phase.remaining_s : null;
  return (
    <p class="job-line">
      <span class="job-line" role="status">
        <span class={`tag ${phase.status}`} data-testid="job-status">
          {statusWord(phase.status)}
        </span>
        {phase.status === "queued" && phase.position !== null && (
          <span data-testid="job-position">{ordinal(phase.position)} in the queue</span>
        )}
        {job.attempt > 1 && <span data-testid="job-attempt">attempt {job.attempt}</span>}
      </span>
      {remaining !== null && <span>about {formatSeconds(remaining)} left</span>}
    </p>
  );
}

function ProgressBar({ progress }: { progress: number }) {
  const percent = Math.round(Math.min(100, Math.max(0, progress)));
  return (
    <div class="progress-line">
      <div
        class="progress"
        role="progressbar"
        aria-label="Progress"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
        data-testid="job-progress"
      >
        <div class="progress-done" style={{ width: `${percent}%` }} />
      </div>
      <span class="quiet percent" aria-hidden="true">
        {percent}%
      </span>
    </div>
  );
}

function Message({ text }: { text: string | null }) {
  if (text === null || text === "") return null;
  return (
    <p class="job-message" data-testid="job-message">
      {text}
    </p>
  );
}

function Failure({ phase }: { phase: Phase }) {
  if ((phase.status !== "failed" && phase.status !== "canceled") || phase.error === null) {
    return null;
  }
  return (
    <p class={phase.status === "failed" ? "error" : "aside"} data-testid="job-error">
      {phase.error.message} {phase.status === "failed" && <code>{phase.error.code}</code>}
    </p>
  );
}

function Actions({ job, session }: Omit<JobCardProps, "waiting">) {
  const ended = isTerminal(job);
  const asked = job.cancel.kind === "asked";
  return (
    <>
      {!ended && job.cancel.kind === "refused" && (
        <p class="error" role="alert">
          {job.cancel.message}
        </p>
      )}
      <div class="job-actions">
        {ended || job.share !== null ? (
          <button type="button" class="plain" onClick={() => session.dismissJob(job.id)}>
            Remove from the list
          </button>
        ) : (
          <button
            type="button"
            data-testid="job-cancel"
            aria-disabled={asked}
            onClick={() => asked || session.cancel(job.id)}
          >
            {asked ? "Canceling…" : "Cancel"}
          </button>
        )}
        {job.share === null ? (
          <a class="job-id" href={`/api/jobs/${encodeURIComponent(job.id)}`}>
            {job.id}
          </a>
        ) : (
          <span class="job-id">{job.id}</span>
        )}
      </div>
    </>
  );
}
