import "./no-eval.ts";
import { render } from "preact";
import { useState } from "preact/hooks";
import { DEFAULT_SETTINGS } from "../protocol/resources.ts";
import { spaceName } from "../protocol/values.ts";
import { getAccounts, getMe } from "./account-api.ts";
import { Problem } from "./setting-field.tsx";
import { ProblemList, type Sent, SettingFields } from "./setting-fields.tsx";
import { changesOf, refusalBy, sentence } from "./setting-form.ts";
import { makeSpace } from "./space-api.ts";
import { mayMakeSpaces } from "./space-rights.ts";
import { useSettingForm } from "./use-setting-form.ts";

/** `/new`. It is not under `/spaces/`, where every word may be a space's name. */
function NewSpacePage() {
  return (
    <>
      <header class="head">
        <h1>New space</h1>
        <p class="description">
          A space is a name on the web for a model. Give it a name now; everything else can be
          changed at any time.
        </p>
      </header>
      <main>
        <NewSpaceForm />
      </main>
    </>
  );
}

function NewSpaceForm() {
  const [name, setName] = useState("");
  const [nameProblem, setNameProblem] = useState<string | null>(null);
  const [isSending, setSending] = useState(false);
  const [sent, setSent] = useState<Sent>({ count: 0, refusal: null });
  const form = useSettingForm(DEFAULT_SETTINGS);
  const fail = (refusal: string | null) => setSent(({ count }) => ({ count: count + 1, refusal }));

  const submit = async (event: Event) => {
    event.preventDefault();
    if (isSending) return;
    const found = refusalBy(spaceName, name);
    setNameProblem(found);
    if (!form.check() || found !== null) return fail(null);
    setSending(true);
    const answer = await makeSpace(name, changesOf(DEFAULT_SETTINGS, form.draft));
    if (answer.ok) return location.assign(`/spaces/${name}/settings#tokens`);
    setSending(false);
    const { error } = answer;
    form.refuse(error);
    const refused = error.errors.find(({ path }) => path === "name");
    if (refused !== undefined) setNameProblem(sentence(refused.message));
    else if (error.code === "space_exists") setNameProblem(error.message);
    return fail(error.code === "invalid_request" ? null : error.message);
  };
  const problems = nameProblem === null ? form.problems : { name: nameProblem, ...form.problems };
  return (
    // The page says what is wrong itself, in the same words everywhere.
    <form class="card action" aria-label="New space" noValidate onSubmit={submit}>
      <ProblemList problems={problems} sent={sent} />
      <NameField
        value={name}
        problem={nameProblem}
        onInput={(text) => {
          setName(text);
          setNameProblem(refusalBy(spaceName, text));
        }}
      />
      <SettingFields form={form} />
      <button type="submit" class="primary" aria-disabled={isSending}>
        {isSending ? "Sending…" : "Make the space"}
      </button>
    </form>
  );
}

interface NameFieldProps {
  value: string;
  problem: string | null;
  onInput: (text: string) => void;
}

function NameField({ value, problem, onInput }: NameFieldProps) {
  return (
    <div class="field setting">
      <label for="setting-name">Name</label>
      <input
        id="setting-name"
        name="name"
        type="text"
        required
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        aria-invalid={problem !== null}
        aria-describedby={
          problem === null ? "setting-name-hint" : "setting-name-problem setting-name-hint"
        }
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <Problem id="setting-name" text={problem ?? undefined} />
      <p class="quiet small" id="setting-name-hint">
        It stands in the address of the space and can't be changed later: {location.origin}/spaces/
        <strong>{value === "" ? "…" : value}</strong>. 1 to 63 of a-z, 0-9 and -.
      </p>
    </div>
  );
}

const root = document.getElementById("page");
const [me, edge] = await Promise.all([getMe(), getAccounts()]);
document.title = "New space · Dialout";
if (me.ok && me.value.user === null) location.replace("/sign-in?next=/new");
else if (root !== null) {
  const refusal = me.ok ? (edge.ok ? null : edge.error.message) : me.error.message;
  const mayMake = me.ok && edge.ok && mayMakeSpaces(me.value.user, edge.value);
  render(
    mayMake ? (
      <NewSpacePage />
    ) : (
      <main>
        <h1>New space</h1>
        <p class="error" role="alert">
          {refusal ?? "Only admins may make spaces here. Ask whoever runs this edge."}
        </p>
      </main>
    ),
    root,
  );
}
