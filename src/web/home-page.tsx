import "./no-eval.ts";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { SpaceResource } from "../protocol/resources.ts";
import { type EdgeAccounts, getAccounts, getMe, type Me, signOut } from "./account-api.ts";
import { type SpaceList, SpaceListing } from "./space-listing.ts";
import { mayMakeSpaces, mayManage, relationTo } from "./space-rights.ts";
import { workerPill } from "./wording.ts";

/** Who looks at the page; `null` until that is known. */
interface Visitor {
  me: Me;
  edge: EdgeAccounts;
}

function HomePage() {
  const [visitor, setVisitor] = useState<Visitor | null>(null);
  useEffect(() => void readVisitor().then(setVisitor), []);
  return (
    <>
      <header class="head">
        <div class="head-line spread">
          <h1>Dialout</h1>
          {visitor !== null && <SignInState visitor={visitor} />}
        </div>
        <p class="description">
          Models that sit behind NAT, on the web. A worker dials out and serves a space; whoever may
          use the space sends it jobs.
        </p>
      </header>
      <main>
        <Spaces visitor={visitor} />
      </main>
    </>
  );
}

/** `null` if it can't be found out; then the list says that the edge can't be reached. */
async function readVisitor(): Promise<Visitor | null> {
  const [me, edge] = await Promise.all([getMe(), getAccounts()]);
  return me.ok && edge.ok ? { me: me.value.user, edge: edge.value } : null;
}

function SignInState({ visitor: { me, edge } }: { visitor: Visitor }) {
  if (me === null) {
    return (
      <p class="head-line">
        <a href="/sign-in?next=/">Sign in</a>
        {edge.needs_setup && <a href="/setup">Set up this edge</a>}
        {!edge.needs_setup && edge.registration !== "closed" && <a href="/register">Register</a>}
      </p>
    );
  }
  return (
    <p class="head-line">
      <span>
        Signed in as <a href="/account">{me.name}</a>
      </span>
      <button type="button" onClick={() => void signOut().then(() => location.assign("/"))}>
        Sign out
      </button>
    </p>
  );
}

function Spaces({ visitor }: { visitor: Visitor | null }) {
  const [list, setList] = useState<SpaceList>({ spaces: null, hasMore: false, trouble: null });
  const [listing] = useState(() => new SpaceListing(setList));
  const [wanted, setWanted] = useState("");
  useEffect(() => listing.start(), [listing]);
  const { spaces, hasMore, trouble } = list;
  const me = visitor?.me ?? null;
  const found = spaces?.filter((space) => fits(space, wanted)) ?? [];
  return (
    <>
      <div class="head-line spread">
        <h2>{me === null ? "Public spaces" : "Spaces"}</h2>
        {visitor !== null && mayMakeSpaces(me, visitor.edge) && (
          <a class="button primary" href="/new">
            New space
          </a>
        )}
      </div>
      {spaces === null && trouble === null && <p class="quiet">Loading…</p>}
      {trouble !== null && (
        <p class="error" role="alert">
          {trouble.message} Trying again…
        </p>
      )}
      {spaces !== null && spaces.length > 0 && <SearchField wanted={wanted} onInput={setWanted} />}
      <p class="quiet small" role="status">
        {spaces !== null && wanted.trim() !== "" && foundText(found.length, hasMore)}
      </p>
      {spaces?.length === 0 && <p class="quiet empty">There are none yet.</p>}
      <ul class="spaces">
        {found.map((space) => (
          <SpaceItem key={space.name} space={space} me={me} />
        ))}
      </ul>
      {hasMore && (
        <p class="more">
          <button type="button" onClick={() => listing.showMore()}>
            Show more
          </button>
        </p>
      )}
    </>
  );
}

function SearchField({ wanted, onInput }: { wanted: string; onInput: (text: string) => void }) {
  return (
    <div class="field search">
      <label for="search">Search</label>
      <input
        id="search"
        type="search"
        autocomplete="off"
        value={wanted}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </div>
  );
}

/** Whether a space has all of the words in its name, title or description. */
function fits({ name, title, description }: SpaceResource, wanted: string): boolean {
  const text = `${name} ${title} ${description}`.toLowerCase();
  return wanted
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function foundText(count: number, hasMore: boolean): string {
  const found = count === 1 ? "1 space found" : `${count} spaces found`;
  return hasMore ? `${found} among those that are shown; there are more.` : `${found}.`;
}

function SpaceItem({ space, me }: { space: SpaceResource; me: Me }) {
  const pill = workerPill(space.status);
  const waiting = space.status.queue_size;
  const address = `/spaces/${encodeURIComponent(space.name)}`;
  return (
    <li class="card space" data-testid="space" data-space={space.name}>
      <p class="head-line">
        <a class="space-name" href={address}>
          {space.title === "" ? space.name : space.title}
        </a>
        <span class={`pill ${pill.state}`} data-testid="state">
          {pill.text}
        </span>
      </p>
      {space.description !== "" && <p class="description clamp">{space.description}</p>}
      <p class="quiet small head-line">
        <span class="tag" data-testid="relation">
          {relationTo(space, me)}
        </span>
        {waiting > 0 && <span>{waiting} in the queue</span>}
        {mayManage(space, me) && (
          <a href={`${address}/settings`} aria-label={`Settings of ${space.name}`}>
            Settings
          </a>
        )}
      </p>
    </li>
  );
}

const root = document.getElementById("page");
if (root !== null) render(<HomePage />, root);
