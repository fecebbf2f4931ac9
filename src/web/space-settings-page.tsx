import type { SpaceResource } from "../protocol/resources.ts";
import "./no-eval.ts";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { getMe, type Me } from "./account-api.ts";
import { focusSection } from "./page-section.tsx";
import { readSpace } from "./space-api.ts";
import { SpaceEnd } from "./space-end.tsx";
import { SpaceMembers } from "./space-members.tsx";
import { mayGiveAway, mayManage } from "./space-rights.ts";
import { SpaceSettingsForm } from "./space-settings-form.tsx";
import { SpaceTokens } from "./space-tokens.tsx";

interface SpaceSettingsPageProps {
  loaded: SpaceResource;
  me: NonNullable<Me>;
}

/** `/spaces/<name>/settings`: everything that whoever manages a space can change. */
function SpaceSettingsPage({ loaded, me }: SpaceSettingsPageProps) {
  const [space, setSpace] = useState(loaded);
  const { name } = space;
  useEffect(() => {
    document.title = `Settings of ${name} · Dialout`;
    // The browser looked for it before it was drawn.
    if (location.hash !== "") focusSection(location.hash.slice(1));
  }, [name]);
  return (
    <>
      <header class="head">
        <h1>{space.title === "" ? name : space.title}</h1>
        <nav class="head-line" aria-label="This space">
          <a href={`/spaces/${name}`}>Its page</a>
          <a href="#settings">Settings</a>
          <a href="#tokens">Worker tokens</a>
          <a href="#members">Members</a>
          <a href="#end">Drain, hand over, delete</a>
        </nav>
      </header>
      <main class="stack">
        <SpaceSettingsForm space={space} onChange={setSpace} />
        <SpaceTokens space={name} />
        <SpaceMembers space={name} />
        <SpaceEnd space={space} isTheirs={mayGiveAway(space, me)} onChange={setSpace} />
      </main>
    </>
  );
}

/** The page of who may not change the space, or of a space that can't be shown. */
function Refused({ name, text }: { name: string; text: string }) {
  return (
    <main>
      <h1>{name}</h1>
      <p class="error" role="alert">
        {text}
      </p>
      <p>
        <a href={`/spaces/${encodeURIComponent(name)}`}>The page of the space</a>
      </p>
    </main>
  );
}

async function show(root: HTMLElement): Promise<void> {
  const name = decodeURIComponent(location.pathname.split("/")[2] ?? "");
  const me = await getMe();
  if (!me.ok) return render(<Refused name={name} text={me.error.message} />, root);
  const { user } = me.value;
  if (user === null) {
    const next = encodeURIComponent(location.pathname + location.hash);
    return location.replace(`/sign-in?next=${next}`);
  }
  const space = await readSpace(name);
  if (!space.ok) return render(<Refused name={name} text={space.error.message} />, root);
  if (!mayManage(space.value, user)) {
    const text = "Only the owner of the space, those who may manage it, and admins see this.";
    return render(<Refused name={name} text={text} />, root);
  }
  render(<SpaceSettingsPage loaded={space.value} me={user} />, root);
}

const root = document.getElementById("page");
if (root !== null) await show(root);
