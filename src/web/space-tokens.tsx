import { useState } from "preact/hooks";
import type { TokenResource } from "../protocol/resources.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { CommandBlock } from "./command-block.tsx";
import { ConfirmButton } from "./confirm-button.tsx";
import { focusSection, PageSection, Refusal } from "./page-section.tsx";
import { getTokens, makeToken, revokeToken } from "./space-api.ts";
import { TextField } from "./text-field.tsx";
import { useList } from "./use-list.ts";
import { workerCommands } from "./worker-commands.ts";

/** The tokens of the workers that may serve a space. */
export function SpaceTokens({ space }: { space: string }) {
  const { answer, reload } = useList(() => getTokens(space));
  const [made, setMade] = useState<TokenResource | null>(null);
  const [refused, setRefused] = useState<CallResult<unknown> | null>(null);
  const revoke = async (token: TokenResource) => {
    setRefused(await revokeToken(space, token.id));
    if (made?.id === token.id) setMade(null);
    reload();
    focusSection("tokens");
  };
  return (
    <PageSection id="tokens" title="Worker tokens">
      <p class="quiet">
        A worker shows its token when it dials in. Make one for each machine: then you can revoke it
        without stopping the others.
      </p>
      <Refusal answer={answer} />
      <Refusal answer={refused} />
      {answer?.ok && answer.value.tokens.length === 0 && <p class="quiet">There are none yet.</p>}
      <ul class="rows">
        {answer?.ok &&
          answer.value.tokens.map((token) => (
            <li key={token.id} data-testid="token">
              <span>
                {token.name} <span class="quiet small">{usageOf(token)}</span>
              </span>
              <ConfirmButton
                text="Revoke"
                label={`Revoke ${token.name}`}
                question="Its worker is cut off."
                confirm="Yes, revoke it"
                onConfirm={() => void revoke(token)}
              />
            </li>
          ))}
      </ul>
      {made?.token !== undefined && <MadeToken space={space} token={made.token} />}
      <TokenForm
        space={space}
        onMade={(token) => {
          setMade(token);
          reload();
        }}
      />
    </PageSection>
  );
}

function usageOf({ created_at, last_used_at }: TokenResource): string {
  const made = `made ${new Date(created_at).toLocaleDateString()}`;
  if (last_used_at === null) return `${made}, never used`;
  return `${made}, last used ${new Date(last_used_at).toLocaleString()}`;
}

function TokenForm(props: { space: string; onMade: (token: TokenResource) => void }) {
  const [name, setName] = useState("");
  const send = async () => {
    const answer = await makeToken(props.space, name);
    if (answer.ok) {
      setName("");
      props.onMade(answer.value);
    }
    return answer;
  };
  return (
    <ActionForm title="New token" button="Make a token" done={null} send={send}>
      <TextField
        id="token-name"
        label="Which machine is it for?"
        hint="Such as: my laptop."
        maxLength={120}
        value={name}
        onInput={setName}
      />
    </ActionForm>
  );
}

/** Only now is the token known: it is stored as a hash. */
function MadeToken({ space, token }: { space: string; token: string }) {
  return (
    <div class="made">
      <p class="hint" role="status">
        Keep this token, it is not shown again: <code data-testid="made-token">{token}</code>
      </p>
      <h3>Start a worker on the machine that has the model</h3>
      {workerCommands(location.origin, space, token).map(({ title, hint, command }) => (
        <div key={title}>
          <p>
            <strong>{title}</strong> <span class="quiet small">{hint}</span>
          </p>
          <CommandBlock title={title} text={command} />
        </div>
      ))}
    </div>
  );
}
