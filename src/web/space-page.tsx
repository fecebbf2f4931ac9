import "./no-eval.ts";
import { render } from "preact";
import { useEffect, useReducer } from "preact/hooks";
import { JobCard } from "./job-card.tsx";
import { JobForm } from "./job-form.tsx";
import type { TabJob } from "./job-state.ts";
import { PageSession } from "./page-session.ts";
import type { Notice, SpaceState } from "./page-state.ts";
import { SpaceHeader } from "./space-header.tsx";
import { closeReason, queuedMessage } from "./wording.ts";

type UnavailableSpace = Extract<SpaceState, { kind: "unavailable" }>;

function SpacePage({ session }: { session: PageSession }) {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => session.subscribe(() => redraw(undefined)), [session]);
  const state = session.state;
  const { space, link } = state;
  const shared = state.jobs.filter((job) => job.share !== null);
  return (
    <>
      <SpaceHeader name={session.space} state={state} />
      {link.kind === "closed" && space.kind !== "unavailable" && (
        <div class="banner" role="alert">
          <p>{closeReason(link)}</p>
          <button type="button" onClick={() => session.redial()}>
            Try again
          </button>
        </div>
      )}
      {space.kind === "unavailable" ? (
        <main class="columns">
          <Unavailable name={session.space} space={space} />
          {shared.length + state.notices.length > 0 && <JobList jobs={shared} session={session} />}
        </main>
      ) : (
        <main class="columns">
          {space.kind === "ready" ? (
            <JobForm session={session} resource={space.resource} state={state} />
          ) : (
            <section class="card quiet" role="status" data-testid="loading">
              {space.trouble === null ? "Loading…" : `${space.trouble} Trying again…`}
            </section>
          )}
          <JobList jobs={state.jobs} session={session} />
        </main>
      )}
    </>
  );
}

/** The edge's own words for a private space are for programs, which send a key. */
function Unavailable({ name, space }: { name: string; space: UnavailableSpace }) {
  const next = encodeURIComponent(`/spaces/${name}`);
  return (
    <section class="card">
      {space.code === "not_authenticated" ? (
        <p role="alert">
          This space is private. If it is shared with you,{" "}
          <a href={`/sign-in?next=${next}`}>sign in</a>.
        </p>
      ) : (
        <p role="alert">{space.message}</p>
      )}
      <p>
        <a href="/">See the spaces that you may use</a>
      </p>
    </section>
  );
}

function JobList({ jobs, session }: { jobs: TabJob[]; session: PageSession }) {
  const { notices, status, space } = session.state;
  const schema = space.kind === "ready" ? (space.resource.schema?.output ?? null) : null;
  return (
    <section class="jobs" aria-labelledby="jobs-title">
      <h2 id="jobs-title">Jobs of this tab</h2>
      <div role="status">
        {notices.map((notice) => (
          <NoticeLine key={notice.id} notice={notice} session={session} />
        ))}
      </div>
      {jobs.length === 0 && <p class="quiet empty">Nothing yet. What you submit shows up here.</p>}
      {jobs.map((job) => (
        <JobCard
          key={job.id}
          job={job}
          waiting={queuedMessage(job, status)}
          session={session}
          schema={schema}
        />
      ))}
    </section>
  );
}

function NoticeLine({ notice, session }: { notice: Notice; session: PageSession }) {
  return (
    <div class="notice" data-testid="notice">
      <p>{notice.text}</p>
      <button type="button" class="plain" onClick={() => session.dismissNotice(notice.id)}>
        Dismiss
      </button>
    </div>
  );
}

/** `/spaces/<name>`, with or without a slash at its end. */
function spaceOfAddress(): string {
  return decodeURIComponent(location.pathname.split("/")[2] ?? "");
}

function attachFromAddress(session: PageSession): void {
  const named = new URLSearchParams(location.hash.slice(1));
  const id = named.get("job") ?? "";
  if (id !== "") void session.attach(id, named.get("share") || null);
}

const root = document.getElementById("page");
if (root !== null) {
  const session = new PageSession(spaceOfAddress(), sessionStorage);
  render(<SpacePage session={session} />, root);
  void session.start();
  attachFromAddress(session);
  addEventListener("hashchange", () => attachFromAddress(session));
}
