import "./no-eval.ts";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import {
  type EdgeAccounts,
  getAccounts,
  setUp,
  signIn,
  signUp,
  startOauth,
} from "./account-api.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { TextField } from "./text-field.tsx";

/** `/sign-in`, `/register` and `/setup`. */
function SignInPage({ path }: { path: string }) {
  const [edge, setEdge] = useState<CallResult<EdgeAccounts> | null>(null);
  useEffect(() => void getAccounts().then(setEdge), []);
  return (
    <>
      <header class="head">
        <h1>Dialout</h1>
      </header>
      <main class="narrow">
        {edge === null && <p class="quiet">Loading…</p>}
        {edge?.ok === false && (
          <p class="error" role="alert">
            {edge.error.message}
          </p>
        )}
        {edge?.ok && path === "/setup" && <SetUp edge={edge.value} />}
        {edge?.ok && path === "/register" && <Register edge={edge.value} />}
        {edge?.ok && path === "/sign-in" && <SignIn edge={edge.value} />}
      </main>
    </>
  );
}

/** Goes to the provider of OpenID Connect that the operator has chosen, and comes back signed in. */
function ProviderForm({ name, invitation }: { name: string; invitation: string }) {
  const send = async () => {
    const answer = await startOauth(nextPath(), invitation);
    if (answer.ok) location.assign(answer.value.url);
    return answer;
  };
  const refusal = new URLSearchParams(location.search).get("error");
  return (
    <ActionForm title={`With ${name}`} button={`Sign in with ${name}`} done={null} send={send}>
      {refusal !== null && (
        <p class="error" role="alert">
          {PROVIDER_REFUSALS.get(refusal) ?? "That did not work. Try again, or use a password."}
        </p>
      )}
    </ActionForm>
  );
}

/** Why somebody came back from the provider without being signed in, by Better Auth's codes. */
const PROVIDER_REFUSALS = new Map([
  ["account_not_linked", "There is an account with your email address: sign in with its password."],
  ["access_denied", "You were not signed in: the other service did not allow it."],
  ["registration_closed", "You have no account here yet: ask an administrator for an invitation."],
  ["account_disabled", "This account is disabled: ask an administrator."],
]);

function SignIn({ edge }: { edge: EdgeAccounts }) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  return (
    <>
      <ActionForm
        title="Sign in"
        button="Sign in"
        done={null}
        send={() => thenGoOn(signIn(email, password))}
      >
        <EmailField value={email} onInput={setEmail} />
        <TextField
          id="password"
          label="Password"
          type="password"
          autocomplete="current-password"
          value={password}
          onInput={setPassword}
        />
      </ActionForm>
      {edge.oauth !== null && <ProviderForm name={edge.oauth} invitation="" />}
      {edge.needs_setup ? (
        <p class="aside">
          This edge has no admin yet. <a href="/setup">Set it up.</a>
        </p>
      ) : (
        edge.registration !== "closed" && (
          <p class="aside">
            No account yet? <a href="/register">Register</a>
            {edge.registration === "invitation" && " with an invitation"}.
          </p>
        )
      )}
    </>
  );
}

function Register({ edge }: { edge: EdgeAccounts }) {
  const person = usePerson("", "", "");
  const [invitation, setInvitation] = useState(fragment("invitation"));
  if (edge.registration === "closed") {
    return <p class="card">Registration is closed here. Ask whoever runs this edge.</p>;
  }
  return (
    <>
      <ActionForm
        title="Register"
        button="Register"
        done={null}
        send={() => thenGoOn(signUp(person.value, invitation))}
      >
        <PersonFields person={person} />
        <TextField
          id="invitation"
          label={edge.registration === "open" ? "Invitation, if you have one" : "Invitation"}
          value={invitation}
          required={edge.registration === "invitation"}
          onInput={setInvitation}
        />
      </ActionForm>
      {edge.oauth !== null && <ProviderForm name={edge.oauth} invitation={invitation} />}
    </>
  );
}

/** With the code from the link that `npm start` prints, everything is filled in already. */
function SetUp({ edge }: { edge: EdgeAccounts }) {
  const code = fragment("code");
  const isReady = code !== "";
  const person = usePerson(
    isReady ? "Admin" : "",
    isReady ? "admin@dialout.example" : "",
    isReady ? newPassword() : "",
  );
  const [key, setKey] = useState(code);
  if (!edge.needs_setup) {
    return (
      <p class="card">
        This edge is set up. <a href="/sign-in">Sign in.</a>
      </p>
    );
  }
  return (
    <ActionForm
      title="Make the first admin"
      button="Create the admin"
      done={null}
      send={() => thenGoOn(setUp(person.value, key))}
    >
      <PersonFields person={person} isPasswordShown={isReady} />
      <TextField
        id="key"
        label="Operator's key"
        type="password"
        autocomplete="off"
        hint="OPERATOR_KEY of this edge, or the code in the link that npm start prints."
        value={key}
        onInput={setKey}
      />
    </ActionForm>
  );
}

function usePerson(firstName: string, firstEmail: string, firstPassword: string) {
  const [name, setName] = useState(firstName);
  const [email, setEmail] = useState(firstEmail);
  const [password, setPassword] = useState(firstPassword);
  return { value: { name, email, password }, setName, setEmail, setPassword };
}

interface PersonFieldsProps {
  person: ReturnType<typeof usePerson>;
  /** A password that the page has made must be readable: nobody knows it yet. */
  isPasswordShown?: boolean;
}

function PersonFields({ person, isPasswordShown = false }: PersonFieldsProps) {
  const { name, email, password } = person.value;
  return (
    <>
      <TextField id="name" label="Name" autocomplete="name" value={name} onInput={person.setName} />
      <EmailField value={email} onInput={person.setEmail} />
      <TextField
        id="password"
        label="Password"
        type={isPasswordShown ? "text" : "password"}
        autocomplete="new-password"
        hint={isPasswordShown ? "Keep it: it is not shown again." : "10 characters or more."}
        minLength={10}
        value={password}
        onInput={person.setPassword}
      />
    </>
  );
}

function EmailField({ value, onInput }: { value: string; onInput: (text: string) => void }) {
  return (
    <TextField
      id="email"
      label="Email address"
      type="email"
      autocomplete="username"
      value={value}
      onInput={onInput}
    />
  );
}

/** After signing in the page goes to `?next=`, or to the account. */
async function thenGoOn(answer: Promise<CallResult<unknown>>): Promise<CallResult<unknown>> {
  const result = await answer;
  if (result.ok) location.assign(nextPath());
  return result;
}

/** Only a path of this edge: a link to this page must not lead elsewhere. */
function nextPath(): string {
  const next = new URLSearchParams(location.search).get("next") ?? "";
  return /^\/(?![/\\])/.test(next) ? next : "/account";
}

/** A value after `#`, which browsers send to nobody. */
function fragment(name: string): string {
  return new URLSearchParams(location.hash.slice(1)).get(name) ?? "";
}

function newPassword(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return btoa(String.fromCharCode(...bytes)).replace(/\W/g, "x");
}

const root = document.getElementById("page");
if (root !== null) {
  render(<SignInPage path={location.pathname.replace(/\/+$/, "")} />, root);
}
