import { useEffect, useRef, useState } from "preact/hooks";
import type { SpaceResource } from "../protocol/resources.ts";
import { PageSection } from "./page-section.tsx";
import { ProblemList, type Sent, SettingFields } from "./setting-fields.tsx";
import { changesOf, labelOf, settingsOf, shown } from "./setting-form.ts";
import { changeSpace, readSpace } from "./space-api.ts";
import { type Followed, type SettingForm, useSettingForm } from "./use-setting-form.ts";

interface SpaceSettingsFormProps {
  space: SpaceResource;
  onChange: (space: SpaceResource) => void;
}

/** What the form says after it was sent, besides what is wrong. */
interface Said {
  text: string;
  isWarning: boolean;
}

/** The settings of a space. Only what was edited here is sent, so that nobody else's change is undone. */
export function SpaceSettingsForm({ space, onChange }: SpaceSettingsFormProps) {
  const form = useSettingForm(settingsOf(space));
  const { isSending, said, sent, submit } = useSaving(space, form, onChange);
  return (
    <PageSection id="settings" title="Settings">
      <form aria-label="Settings" noValidate onSubmit={submit}>
        <ProblemList problems={form.problems} sent={sent} />
        <SettingFields form={form} />
        <div class="save-line">
          <button type="submit" class="primary" aria-disabled={isSending}>
            {isSending ? "Saving…" : "Save"}
          </button>
          <div role="status">
            {said !== null && <p class={said.isWarning ? "hint" : "aside"}>{said.text}</p>}
          </div>
        </div>
      </form>
    </PageSection>
  );
}

/** Sends what was edited, and keeps up with what others change meanwhile. */
function useSaving(
  space: SpaceResource,
  form: SettingForm,
  onChange: (space: SpaceResource) => void,
) {
  const [isSending, setSending] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);
  const [sent, setSent] = useState<Sent>({ count: 0, refusal: null });
  const stored = useRef(space);
  stored.current = space;

  const follow = (fresh: SpaceResource): Followed => {
    if (fresh.updated_at === stored.current.updated_at) return { changed: [], conflicts: [] };
    const followed = form.follow(settingsOf(stored.current), settingsOf(fresh));
    onChange(fresh);
    if (followed.changed.length > 0) setSaid(changedElsewhere(fresh, followed));
    return followed;
  };
  const look = async () => {
    const now = await readSpace(space.name);
    if (now.ok) follow(now.value);
  };
  useWhenSeen(() => void (!isSending && look()));

  const fail = (refusal: string | null) => setSent(({ count }) => ({ count: count + 1, refusal }));
  const save = async (): Promise<void> => {
    const changes = changesOf(settingsOf(space), form.draft);
    if (Object.keys(changes).length === 0) return setSaid(plain("There is nothing to save."));
    const now = await readSpace(space.name);
    if (!now.ok) return fail(now.error.message);
    const { changed, conflicts } = follow(now.value);
    if (conflicts.length > 0) return;
    const answer = await changeSpace(space.name, changes);
    if (!answer.ok) {
      form.refuse(answer.error);
      return fail(answer.error.code === "invalid_request" ? null : answer.error.message);
    }
    const expected = { ...settingsOf(now.value), ...changes };
    const late = form.follow(expected, settingsOf(answer.value)).changed;
    onChange(answer.value);
    setSaid(plain(savedText([...changed, ...late])));
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isSending) return;
    setSaid(null);
    if (!form.check()) return fail(null);
    setSent({ count: 0, refusal: null });
    setSending(true);
    await save();
    setSending(false);
  };
  return { isSending, said, sent, submit };
}

const plain = (text: string): Said => ({ text, isWarning: false });

function savedText(others: string[]): string {
  if (others.length === 0) return "Saved.";
  return `Saved. Meanwhile somebody else changed ${listed(others)}; that is kept.`;
}

function changedElsewhere(fresh: SpaceResource, { changed, conflicts }: Followed): Said {
  const at = new Date(fresh.updated_at).toLocaleTimeString();
  const what = `Somebody else changed ${listed(changed)} at ${at}, after this page was loaded.`;
  if (conflicts.length === 0) return { text: `${what} The form shows it.`, isWarning: true };
  const stored = settingsOf(fresh);
  const values = conflicts.map((name) => `${labelOf(name)} is now “${shown(name, stored[name])}”`);
  return {
    text: `${what} ${values.join(", ")}. Nothing was saved: save again to replace it by what you typed.`,
    isWarning: true,
  };
}

function listed(names: string[]): string {
  return names.map((name) => labelOf(name)).join(", ");
}

/** Runs each time the page is looked at again. */
function useWhenSeen(run: () => void): void {
  useEffect(() => {
    const onChange = () => document.visibilityState === "visible" && run();
    document.addEventListener("visibilitychange", onChange);
    return () => document.removeEventListener("visibilitychange", onChange);
  });
}
