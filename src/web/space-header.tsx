import { useEffect } from "preact/hooks";
import type { PageState } from "./page-state.ts";
import { pillOf, waitText } from "./wording.ts";

/** The space's title, the state of its worker, and its queue. */
export function SpaceHeader({ name, state }: { name: string; state: PageState }) {
  const resource = state.space.kind === "ready" ? state.space.resource : null;
  const title = resource === null || resource.title === "" ? name : resource.title;
  useEffect(() => {
    document.title = `${title} · Dialout`;
  }, [title]);
  const pill = pillOf(state);
  const worker = pill.state === "offline" ? undefined : state.status?.worker_name;
  return (
    <header class="head">
      <div class="head-line">
        <h1>{title}</h1>
        <p class="state" role="status">
          <span class={`pill ${pill.state}`} data-testid="state" data-state={pill.state}>
            {pill.text}
          </span>
          {worker !== undefined && (
            <span class="quiet worker" data-testid="worker-name">
              {worker}
            </span>
          )}
        </p>
        {resource?.access === "manage" && (
          <a href={`/spaces/${encodeURIComponent(name)}/settings`}>Settings</a>
        )}
      </div>
      {resource !== null && resource.description !== "" && (
        <p class="description">{resource.description}</p>
      )}
      <Counts state={state} offline={pill.state === "offline"} />
    </header>
  );
}

/** While the page is offline these are the last known numbers, styled as outdated. */
function Counts({ state, offline }: { state: PageState; offline: boolean }) {
  const { status } = state;
  if (state.space.kind === "unavailable") return null;
  return (
    <dl class={offline ? "counts stale" : "counts"}>
      <Count label="In the queue" testid="queue-size" value={status?.queue_size} />
      <Count label="Processing" testid="processing" value={status?.processing} />
      <Count label="Wait for a new job" testid="estimated-wait" value={waitText(status)} />
    </dl>
  );
}

function Count(props: { label: string; testid: string; value: number | string | undefined }) {
  return (
    <div>
      <dt>{props.label}</dt>
      <dd data-testid={props.testid}>{props.value ?? "–"}</dd>
    </div>
  );
}
