import { useState } from "preact/hooks";
import type { MemberResource } from "../protocol/members.ts";
import type { SpaceResource } from "../protocol/resources.ts";
import { ActionForm } from "./action-form.tsx";
import type { CallResult } from "./api.ts";
import { ConfirmButton } from "./confirm-button.tsx";
import { PageSection, Refusal } from "./page-section.tsx";
import { changeSpace, deleteSpace, drainSpace, getMembers } from "./space-api.ts";
import { nameOf } from "./space-members.tsx";
import { TextField } from "./text-field.tsx";

interface SpaceEndProps {
  space: SpaceResource;
  /** Whether who looks at it may delete the space and give it away. */
  isTheirs: boolean;
  onChange: (space: SpaceResource) => void;
}

/** What takes a space out of use. */
export function SpaceEnd({ space, isTheirs, onChange }: SpaceEndProps) {
  return (
    <PageSection id="end" title="Drain, hand over, delete">
      <Drain space={space.name} />
      {isTheirs && <HandOver space={space} onChange={onChange} />}
      {isTheirs && <Delete space={space.name} />}
      {!isTheirs && <p class="quiet">Only its owner can hand it over or delete it.</p>}
    </PageSection>
  );
}

function Drain({ space }: { space: string }) {
  const [answer, setAnswer] = useState<CallResult<unknown> | null>(null);
  return (
    <div class="part">
      <p>
        Draining lets the workers finish what they run. They get no new jobs until they dial in
        again, for example after an update.
      </p>
      <ConfirmButton
        text="Drain the workers"
        label="Drain the workers"
        question="New jobs wait until a worker dials in again."
        confirm="Yes, drain them"
        onConfirm={() => void drainSpace(space).then(setAnswer)}
      />
      <div role="status">
        {answer?.ok && <p class="aside">The workers were asked to finish.</p>}
      </div>
      <Refusal answer={answer} />
    </div>
  );
}

type HandOverProps = Pick<SpaceEndProps, "space" | "onChange">;

function HandOver({ space, onChange }: HandOverProps) {
  const [owner, setOwner] = useState("");
  const [members, setMembers] = useState<CallResult<{ members: MemberResource[] }> | null>(null);
  // Asked for when the list is opened: members may have been added above meanwhile.
  const ask = () => void getMembers(space.name).then(setMembers);
  const send = async () => {
    const answer = await changeSpace(space.name, { owner });
    if (answer.ok) onChange(answer.value);
    return answer;
  };
  return (
    <ActionForm title="Hand over" button="Hand it over" done="It is theirs now." send={send}>
      <div class="field">
        <label for="owner">New owner</label>
        <select
          id="owner"
          required
          aria-describedby="owner-hint"
          value={owner}
          onFocus={ask}
          onChange={(event) => setOwner(event.currentTarget.value)}
        >
          <option value="">Choose a member</option>
          {members?.ok &&
            members.value.members.map((member) => (
              <option key={member.user} value={member.user}>
                {nameOf(member)}
              </option>
            ))}
        </select>
        <p class="quiet small" id="owner-hint">
          One of the members: add them first. You can't take it back; the new owner can.
        </p>
      </div>
      <Refusal answer={members} />
    </ActionForm>
  );
}

function Delete({ space }: { space: string }) {
  const [typed, setTyped] = useState("");
  const send = async () => {
    const answer = await deleteSpace(space);
    if (answer.ok) location.assign("/");
    return answer;
  };
  return (
    <ActionForm
      title="Delete the space"
      button="Delete it for good"
      done={null}
      isReady={typed === space}
      send={send}
    >
      <p>Its jobs, results, files and tokens are erased at once, and nobody can bring them back.</p>
      <TextField
        id="delete-name"
        label={`Type ${space} to confirm`}
        autocomplete="off"
        value={typed}
        onInput={setTyped}
      />
    </ActionForm>
  );
}
