import { useState } from "preact/hooks";
import { type KeyResource, SCOPES } from "../protocol/accounts.ts";
import { getKeys, makeKey, revokeKey } from "./account-api.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { CopyButton } from "./copy-button.tsx";
import { Refusal } from "./page-section.tsx";
import { shown } from "./shown-time.ts";
import { TextField } from "./text-field.tsx";
import { useList } from "./use-list.ts";

const DAY_S = 86_400;

/** What each scope lets a key do, and never more than its owner. */
const MEANINGS: Record<(typeof SCOPES)[number], string> = {
  "jobs:read": "see jobs",
  "jobs:write": "submit, cancel, share and erase jobs",
  "spaces:admin": "make spaces and change those that you manage",
  "metrics:read": "read the numbers of the edge, if you are an admin",
};

/** The keys of who is signed in, and a form for another one. */
export function Keys() {
  const { answer, reload } = useList(getKeys);
  const [made, setMade] = useState<KeyResource | null>(null);
  const [revoked, setRevoked] = useState<CallResult<unknown> | null>(null);
  const revoke = async (id: string) => {
    setRevoked(await revokeKey(id));
    reload();
  };
  return (
    <section class="card" aria-labelledby="keys">
      <h2 id="keys">Keys for programs</h2>
      <Refusal answer={answer} />
      <Refusal answer={revoked} />
      <ul class="rows">
        {answer?.ok &&
          answer.value.keys.map((key) => (
            <li key={key.id}>
              <span>
                {key.name} <code>{key.prefix}…</code>
                <span class="quiet small"> {describe(key)}</span>
              </span>
              <button
                type="button"
                aria-label={`Revoke ${key.name}`}
                onClick={() => void revoke(key.id)}
              >
                Revoke
              </button>
            </li>
          ))}
      </ul>
      {made?.key !== undefined && (
        <p class="hint" role="status">
          Keep this key, it is not shown again: <code data-testid="key">{made.key}</code>{" "}
          <CopyButton text={() => made.key ?? ""} />
        </p>
      )}
      <KeyForm
        onMade={(key) => {
          setMade(key);
          reload();
        }}
      />
    </section>
  );
}

function KeyForm({ onMade }: { onMade: (key: KeyResource) => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<string[]>(["jobs:read", "jobs:write"]);
  const [space, setSpace] = useState("");
  const [days, setDays] = useState("");
  const send = async () => {
    const answer = await makeKey({
      name,
      scopes,
      ...(space.trim() === "" ? {} : { space: space.trim() }),
      expires_in_s: days === "" ? null : Number(days) * DAY_S,
    });
    if (answer.ok) onMade(answer.value);
    return answer;
  };
  const toggle = (scope: string, isOn: boolean) =>
    setScopes(isOn ? [...scopes, scope] : scopes.filter((other) => other !== scope));
  return (
    <ActionForm title="New key" button="Make a key" done={null} send={send}>
      <TextField id="key-name" label="What is it for?" value={name} onInput={setName} />
      <fieldset>
        <legend>It may</legend>
        {SCOPES.map((scope) => (
          <label key={scope} class="choice">
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              onChange={(event) => toggle(scope, event.currentTarget.checked)}
            />
            <span>
              {MEANINGS[scope]} <code class="quiet small">{scope}</code>
            </span>
          </label>
        ))}
      </fieldset>
      <TextField
        id="key-space"
        label="For one space only"
        hint="Its name; leave it empty for all that you may use."
        required={false}
        value={space}
        onInput={setSpace}
      />
      <div class="field">
        <label for="key-days">It expires</label>
        <select id="key-days" value={days} onChange={(event) => setDays(event.currentTarget.value)}>
          <option value="">never</option>
          <option value="1">in a day</option>
          <option value="30">in 30 days</option>
          <option value="365">in a year</option>
        </select>
      </div>
    </ActionForm>
  );
}

/** What a key may do, where, how long, and when it was last used. */
function describe({ scopes, space, expires_at, last_used_at }: KeyResource): string {
  return [
    scopes.join(", "),
    space === null ? "all spaces" : `space ${space}`,
    expires_at === null ? "never expires" : `expires ${shown(expires_at)}`,
    last_used_at === null ? "never used" : `used ${shown(last_used_at)}`,
  ].join(" · ");
}
