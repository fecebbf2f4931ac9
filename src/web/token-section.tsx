import { useState } from "preact/hooks";
import type { MintedToken } from "../protocol/accounts.ts";
import { type Me, makeToken } from "./account-api.ts";
import { ActionForm } from "./action-form.tsx";
import { CopyButton } from "./copy-button.tsx";
import { shown } from "./shown-time.ts";
import { TextField } from "./text-field.tsx";

/** Makes a token for rooms; it is shown once. */
export function TokenSection({ user }: { user: NonNullable<Me> }) {
  const [made, setMade] = useState<MintedToken | null>(null);
  return (
    <section class="card" aria-labelledby="tokens">
      <h2 id="tokens">Tokens for rooms</h2>
      <p class="quiet">
        A token (JWT) lets a page or program follow rooms for a while. It can't be taken back.
      </p>
      {made !== null && <Made token={made} />}
      <TokenForm user={user} onMade={setMade} />
    </section>
  );
}

function Made({ token }: { token: MintedToken }) {
  const command = `curl -sN '${location.origin}/api/rooms/user:${token.user}/events' -H 'Authorization: Bearer ${token.token}'`;
  return (
    <div role="status">
      <p class="hint">
        Keep this token, it is not shown again. It is good until {shown(token.expires_at)}.
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a long text that scrolls must be reachable by keyboard */}
      <pre data-testid="token" tabIndex={0}>
        {token.token}
      </pre>
      <p class="caption">To try it, follow the room of {token.user} with curl:</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a long text that scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{command}</pre>
      <p class="buttons">
        <CopyButton label="Copy the token" text={() => token.token} />
        <CopyButton label="Copy the command" text={() => command} />
      </p>
    </div>
  );
}

function TokenForm({
  user: { id, role },
  onMade,
}: {
  user: NonNullable<Me>;
  onMade: (token: MintedToken) => void;
}) {
  const [user, setUser] = useState(id);
  const [rooms, setRooms] = useState("");
  const [publish, setPublish] = useState("");
  const [hours, setHours] = useState("1");
  const send = async () => {
    const lists = { rooms: words(rooms), publish: words(publish) };
    const answer = await makeToken({ user, ...lists, expires_in_s: Number(hours) * 3_600 });
    if (answer.ok) onMade(answer.value);
    return answer;
  };
  return (
    <ActionForm title="New token" button="Make a token" done={null} send={send}>
      {role === "admin" && (
        <>
          <TextField
            id="token-user"
            label="For the user"
            hint="Your own id, or any that your backend uses."
            value={user}
            onInput={setUser}
          />
          <TextField
            id="token-rooms"
            label="May follow"
            hint="Rooms besides global and the user's own, such as project:42 or project:*, separated by spaces."
            required={false}
            value={rooms}
            onInput={setRooms}
          />
          <TextField
            id="token-publish"
            label="May publish to"
            required={false}
            value={publish}
            onInput={setPublish}
          />
        </>
      )}
      <div class="field">
        <label for="token-hours">Good for</label>
        <select
          id="token-hours"
          value={hours}
          onChange={(event) => setHours(event.currentTarget.value)}
        >
          <option value="1">an hour</option>
          <option value="8">8 hours</option>
          <option value="24">a day</option>
        </select>
      </div>
    </ActionForm>
  );
}

function words(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== "");
}
