import "./no-eval.ts";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { z } from "zod";
import type { DialoutError } from "../client/errors.ts";
import type { Sending } from "../client/sending.ts";
import { type SpaceResource, spaceResource } from "../protocol/resources.ts";
import { type CallResult, call } from "./api.ts";
import { workerPill } from "./wording.ts";

/**
 * How often the list is asked for again while the page is looked at, milliseconds. Every look wakes every
 * space it shows: longer than the 10 seconds after which they sleep.
 */
const REFRESH_MS = 30_000;

const spaceList = z.object({ spaces: z.array(spaceResource) });
type Listed = CallResult<z.infer<typeof spaceList>>;

function HomePage() {
  const [answer, setAnswer] = useState<Listed | null>(null);
  useEffect(() => keepListing(setAnswer), []);
  return (
    <>
      <header class="head">
        <h1>Dialout</h1>
        <p class="description">
          Models that sit behind NAT, on the web. A worker dials out and serves a space; anyone may
          send it jobs.
        </p>
      </header>
      <main>
        <h2>Public spaces</h2>
        {answer === null && <p class="quiet">Loading…</p>}
        {answer?.ok === false && (
          <p class="error" role="alert">
            {answer.error.message} Trying again…
          </p>
        )}
        {answer?.ok && <SpaceList spaces={answer.value.spaces} />}
      </main>
    </>
  );
}

function SpaceList({ spaces }: { spaces: SpaceResource[] }) {
  if (spaces.length === 0) return <p class="quiet empty">There are none yet.</p>;
  return (
    <ul class="spaces">
      {spaces.map((space) => (
        <SpaceItem key={space.name} space={space} />
      ))}
    </ul>
  );
}

function SpaceItem({ space }: { space: SpaceResource }) {
  const pill = workerPill(space.status);
  const waiting = space.status.queue_size;
  return (
    <li class="card space" data-testid="space" data-space={space.name}>
      <p class="head-line">
        <a class="space-name" href={`/spaces/${encodeURIComponent(space.name)}`}>
          {space.title === "" ? space.name : space.title}
        </a>
        <span class={`pill ${pill.state}`} data-testid="state">
          {pill.text}
        </span>
      </p>
      {space.description !== "" && <p class="description clamp">{space.description}</p>}
      {waiting > 0 && <p class="quiet">{waiting} in the queue</p>}
    </li>
  );
}

function keepListing(show: (answer: Listed) => void): () => void {
  let isAsking = false;
  const showTrouble = (error: DialoutError) => show({ ok: false, error });
  const refresh = async () => {
    if (document.visibilityState !== "visible" || isAsking) return;
    isAsking = true;
    const sending = {
      onSending: (now: Sending) => now.state === "waiting" && showTrouble(now.error),
    };
    const answer = await call(
      { path: "/api/spaces", timeout: Number.POSITIVE_INFINITY, ...sending },
      spaceList,
    );
    isAsking = false;
    show(answer);
  };
  void refresh();
  const timer = setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", refresh);
  };
}

const root = document.getElementById("page");
if (root !== null) render(<HomePage />, root);
