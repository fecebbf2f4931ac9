import "./no-eval.ts";
import { render } from "preact";
import { useState } from "preact/hooks";
import type { InvitationResource, Role, UserResource } from "../protocol/accounts.ts";
import {
  changeUser,
  getAudit,
  getInvitations,
  getMe,
  getUsers,
  invite,
  withdrawInvitation,
} from "./account-api.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { ConfirmButton } from "./confirm-button.tsx";
import { CopyButton } from "./copy-button.tsx";
import { Refusal } from "./page-section.tsx";
import { ShowMore } from "./show-more.tsx";
import { TextField } from "./text-field.tsx";
import { type Pages, usePages } from "./use-pages.ts";

/** `/admin`: all accounts, invitations, and the record of what was done. */
function AdminPage() {
  const users = usePages(getUsers, ({ users }) => users);
  return (
    <>
      <header class="head">
        <h1>Users</h1>
        <p class="head-line">
          <a href="/account">Your account</a>
        </p>
      </header>
      <main class="stack">
        <Users pages={users} />
        <Invitations />
        <Record users={users.entries} />
      </main>
    </>
  );
}

function Users({ pages }: { pages: Pages<UserResource> }) {
  const [refusal, setRefusal] = useState<string | null>(null);
  const change = async (user: UserResource, patch: Parameters<typeof changeUser>[1]) => {
    const changed = await changeUser(user.id, patch);
    setRefusal(changed.ok ? null : changed.error.message);
    pages.reload();
  };
  return (
    <section class="card" aria-labelledby="users">
      <h2 id="users">Accounts</h2>
      <Refusal answer={pages.answer} />
      {refusal !== null && (
        <p class="error" role="alert">
          {refusal}
        </p>
      )}
      <ul class="rows">
        {pages.entries.map((user) => (
          <li key={user.id} data-testid="user">
            <span>
              {user.name} <span class="quiet small">{user.email}</span>
              {user.disabled_at !== null && <span class="quiet small"> · disabled</span>}
            </span>
            <span class="buttons">
              <button
                type="button"
                onClick={() =>
                  void change(user, { role: user.role === "admin" ? "member" : "admin" })
                }
              >
                {user.role === "admin" ? "Make a member" : "Make an admin"}
              </button>
              {user.disabled_at === null ? (
                <ConfirmButton
                  text="Disable"
                  label={`Disable ${user.name}`}
                  question="Their sessions end at once."
                  confirm="Yes, disable them"
                  onConfirm={() => void change(user, { disabled: true })}
                />
              ) : (
                <button
                  type="button"
                  aria-label={`Enable ${user.name}`}
                  onClick={() => void change(user, { disabled: false })}
                >
                  Enable
                </button>
              )}
            </span>
          </li>
        ))}
      </ul>
      <ShowMore pages={pages} what="accounts" />
    </section>
  );
}

function Invitations() {
  const pages = usePages(getInvitations, ({ invitations }) => invitations);
  const [made, setMade] = useState<InvitationResource | null>(null);
  const [withdrawn, setWithdrawn] = useState<CallResult<unknown> | null>(null);
  const withdraw = async (id: string) => {
    setWithdrawn(await withdrawInvitation(id));
    pages.reload();
  };
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<Role>("member");
  const send = async () => {
    const answer = await invite(role, email);
    if (answer.ok) setMade(answer.value);
    pages.reload();
    return answer;
  };
  return (
    <section class="card" aria-labelledby="invitations">
      <h2 id="invitations">Invitations</h2>
      <Refusal answer={pages.answer} />
      <Refusal answer={withdrawn} />
      <ul class="rows">
        {pages.entries.map((invitation) => (
          <li key={invitation.id}>
            <span>
              {invitation.email ?? "Anybody"} <span class="quiet small">{stateOf(invitation)}</span>
            </span>
            <button type="button" onClick={() => void withdraw(invitation.id)}>
              Remove
            </button>
          </li>
        ))}
      </ul>
      <ShowMore pages={pages} what="invitations" />
      {made?.code !== undefined && (
        <p class="hint" role="status">
          Send this link, it is not shown again:{" "}
          <code data-testid="invitation">{`${location.origin}/register#invitation=${made.code}`}</code>{" "}
          <CopyButton text={() => `${location.origin}/register#invitation=${made.code}`} />
        </p>
      )}
      <ActionForm title="Invite somebody" button="Make an invitation" done={null} send={send}>
        <TextField
          id="email"
          label="Email address, if only this one may use it"
          type="email"
          required={false}
          value={email}
          onInput={setEmail}
        />
        <label class="choice">
          <input
            type="checkbox"
            checked={role === "admin"}
            onChange={(event) => setRole(event.currentTarget.checked ? "admin" : "member")}
          />
          as an admin
        </label>
      </ActionForm>
    </section>
  );
}

function stateOf({ role, used_at, expires_at }: InvitationResource): string {
  if (used_at !== null) return `${role}, used ${new Date(used_at).toLocaleString()}`;
  return `${role}, until ${new Date(expires_at).toLocaleString()}`;
}

/** With people's names instead of their ids, as far as the list of accounts shows them. */
function named(text: string, users: UserResource[]): string {
  const user = users.find(({ id }) => text === id || text === `user:${id}`);
  return user === undefined ? text : user.name;
}

function Record({ users }: { users: UserResource[] }) {
  const pages = usePages(getAudit, ({ entries }) => entries);
  return (
    <section class="card" aria-labelledby="record">
      <h2 id="record">What was done</h2>
      <Refusal answer={pages.answer} />
      <p>
        <a href="/api/audit?format=csv&limit=1000">As CSV</a>
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard */}
      <section class="scroll" aria-label="List of what was done" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">Who</th>
              <th scope="col">What</th>
              <th scope="col">To</th>
              <th scope="col">From</th>
            </tr>
          </thead>
          <tbody>
            {pages.entries.map((entry) => (
              <tr key={entry.id}>
                <td>{new Date(entry.at).toLocaleString()}</td>
                <td title={entry.actor ?? undefined}>
                  {named(entry.actor ?? entry.actor_kind, users)}
                </td>
                <td>{entry.action}</td>
                <td title={entry.target ?? undefined}>{named(entry.target ?? "", users)}</td>
                <td>{entry.address}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <ShowMore pages={pages} what="of what was done" />
    </section>
  );
}

const root = document.getElementById("page");
const me = await getMe();
if (me.ok && me.value.user === null) location.replace("/sign-in?next=/admin");
else if (root !== null) render(<AdminPage />, root);
