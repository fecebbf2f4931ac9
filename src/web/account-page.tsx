import "./no-eval.ts";
import { render } from "preact";
import { useState } from "preact/hooks";
import {
  changePassword,
  endSession,
  getMe,
  getSessions,
  type Me,
  rename,
  signOut,
} from "./account-api.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { browserName } from "./browser-name.ts";
import { Keys } from "./key-section.tsx";
import { Refusal } from "./page-section.tsx";
import { shown } from "./shown-time.ts";
import { TextField } from "./text-field.tsx";
import { TokenSection } from "./token-section.tsx";
import { useList } from "./use-list.ts";

/** `/account`: what belongs to who is signed in. */
function AccountPage({ user }: { user: NonNullable<Me> }) {
  return (
    <>
      <header class="head">
        <h1>{user.name}</h1>
        <p class="description">
          {user.email} · {user.role}
        </p>
        <p class="head-line">
          <a href="/">Your spaces</a>
          {user.role === "admin" && <a href="/admin">Users, invitations, record</a>}
          <button type="button" onClick={() => void leave()}>
            Sign out
          </button>
        </p>
      </header>
      <main class="stack">
        <NameForm name={user.name} />
        <PasswordForm />
        <Sessions />
        <Keys />
        <TokenSection user={user} />
      </main>
    </>
  );
}

function NameForm({ name }: { name: string }) {
  const [value, setValue] = useState(name);
  return (
    <ActionForm title="Name" button="Save" done="Saved." send={() => rename(value)}>
      <TextField id="name" label="Name" autocomplete="name" value={value} onInput={setValue} />
    </ActionForm>
  );
}

function PasswordForm() {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  return (
    <ActionForm
      title="Password"
      button="Change the password"
      done="Changed. All other sessions have ended."
      send={() => changePassword(current, next)}
    >
      <TextField
        id="current"
        label="Current password"
        type="password"
        autocomplete="current-password"
        value={current}
        onInput={setCurrent}
      />
      <TextField
        id="next"
        label="New password"
        type="password"
        autocomplete="new-password"
        hint="10 characters or more."
        minLength={10}
        value={next}
        onInput={setNext}
      />
    </ActionForm>
  );
}

function Sessions() {
  const { answer, reload } = useList(getSessions);
  const [ended, setEnded] = useState<CallResult<unknown> | null>(null);
  const end = async (id: string) => {
    setEnded(await endSession(id));
    reload();
  };
  return (
    <section class="card" aria-labelledby="sessions">
      <h2 id="sessions">Sessions</h2>
      <Refusal answer={answer} />
      <Refusal answer={ended} />
      <ul class="rows">
        {answer?.ok &&
          answer.value.sessions.map((session) => (
            <li key={session.id}>
              <span title={session.user_agent ?? undefined}>
                {browserName(session.user_agent ?? "Unknown program")}
                <span class="quiet small">
                  {" "}
                  from {session.address ?? "somewhere"}, since {shown(session.created_at)}
                </span>
              </span>
              {session.current ? (
                <span class="quiet">this one</span>
              ) : (
                <button type="button" onClick={() => void end(session.id)}>
                  End
                </button>
              )}
            </li>
          ))}
      </ul>
    </section>
  );
}

async function leave(): Promise<void> {
  await signOut();
  location.assign("/");
}

const root = document.getElementById("page");
const answer = await getMe();
if (answer.ok && answer.value.user === null) location.replace("/sign-in?next=/account");
else if (root !== null) {
  render(
    answer.ok && answer.value.user !== null ? (
      <AccountPage user={answer.value.user} />
    ) : (
      <p class="error" role="alert">
        {answer.ok ? "" : answer.error.message}
      </p>
    ),
    root,
  );
}
