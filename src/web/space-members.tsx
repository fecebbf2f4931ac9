import { useState } from "preact/hooks";
import type { MemberAccess, MemberResource } from "../protocol/members.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { ConfirmButton } from "./confirm-button.tsx";
import { focusSection, PageSection, Refusal } from "./page-section.tsx";
import { getMembers, putMember, removeMember } from "./space-api.ts";
import { TextField } from "./text-field.tsx";
import { useList } from "./use-list.ts";

const ACCESS: { value: MemberAccess; text: string }[] = [
  { value: "use", text: "may use: see the space, submit, see their own jobs" },
  { value: "manage", text: "may manage: change the space, see all of its jobs" },
];

/** The people that a space is shared with. */
export function SpaceMembers({ space }: { space: string }) {
  const { answer, reload } = useList(() => getMembers(space));
  const [changed, setChanged] = useState<CallResult<unknown> | null>(null);
  const change = async ({ user }: MemberResource, access: string) => {
    setChanged(await putMember(space, user, access));
    reload();
  };
  const remove = async ({ user }: MemberResource) => {
    setChanged(await removeMember(space, user));
    reload();
    focusSection("members");
  };
  return (
    <PageSection id="members" title="Members">
      <p class="quiet">Members may use the space also while it is private.</p>
      <Refusal answer={answer} />
      <Refusal answer={changed} />
      {answer?.ok && answer.value.members.length === 0 && <p class="quiet">There are none yet.</p>}
      <ul class="rows">
        {answer?.ok &&
          answer.value.members.map((member) => (
            <li key={member.user} data-testid="member">
              <MemberName member={member} />
              <span class="buttons">
                <select
                  aria-label={`What ${nameOf(member)} may do`}
                  value={member.access}
                  onChange={(event) => void change(member, event.currentTarget.value)}
                >
                  <option value="use">may use</option>
                  <option value="manage">may manage</option>
                </select>
                <ConfirmButton
                  text="Remove"
                  label={`Remove ${nameOf(member)}`}
                  question="They lose the space at once."
                  confirm="Yes, remove them"
                  onConfirm={() => void remove(member)}
                />
              </span>
            </li>
          ))}
      </ul>
      <MemberForm space={space} onAdded={reload} />
    </PageSection>
  );
}

function MemberName({ member }: { member: MemberResource }) {
  return (
    <span>
      {member.name ?? "An account that is gone"} <span class="quiet small">{member.user}</span>
    </span>
  );
}

export function nameOf({ name, user }: MemberResource): string {
  return name ?? user;
}

function MemberForm({ space, onAdded }: { space: string; onAdded: () => void }) {
  const [user, setUser] = useState("");
  const [access, setAccess] = useState<MemberAccess>("use");
  const send = async () => {
    const answer = await putMember(space, user.trim(), access);
    if (answer.ok) {
      setUser("");
      onAdded();
    }
    return answer;
  };
  return (
    <ActionForm title="Add a member" button="Add" done="Added." send={send}>
      <TextField
        id="member"
        label="Email address or user id"
        hint="They need an account here."
        autocomplete="off"
        maxLength={254}
        value={user}
        onInput={setUser}
      />
      <fieldset>
        <legend>They</legend>
        {ACCESS.map(({ value, text }) => (
          <label key={value} class="choice">
            <input
              type="radio"
              name="access"
              value={value}
              checked={access === value}
              onChange={() => setAccess(value)}
            />
            {text}
          </label>
        ))}
      </fieldset>
    </ActionForm>
  );
}
