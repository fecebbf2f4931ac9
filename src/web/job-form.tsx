import type { ComponentChildren, FunctionComponent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { JsonObject } from "../protocol/codec.ts";
import type { SpaceResource } from "../protocol/resources.ts";
import { type FileField, fileFieldsOf } from "./draft.ts";
import { FileInput } from "./file-input.tsx";
import type { PageSession } from "./page-session.ts";
import type { PageState } from "./page-state.ts";
import type { SchemaFormProps } from "./schema-form.tsx";
import { submitOnCtrlEnter } from "./submit-keys.ts";
import { shownRefusal, submitHint, submitTrouble } from "./wording.ts";

interface JobFormProps {
  session: PageSession;
  resource: SpaceResource;
  state: PageState;
}

type Files = Partial<Record<FileField, File>>;

/** The form of the space's schema; without one, of its switches. */
export function JobForm({ session, resource, state }: JobFormProps) {
  // What was typed outlives a change from one form to the other.
  const typed = useRef<JsonObject>({});
  const { schema } = resource;
  const sending = state.submission.kind === "sending";
  const canStop = state.submission.kind === "sending" && state.submission.wasDelayed;
  const below = (
    <>
      <SubmitLine sending={sending} onStop={canStop ? () => session.stopSending() : null} />
      <FormMessages {...{ resource, state }} />
    </>
  );
  if (!schema?.input) {
    return <SwitchForm {...{ session, resource, state, typed }}>{below}</SwitchForm>;
  }
  const known = { version: schema.version, input: schema.input };
  return <LoadedForm {...{ session, schema: known, state, typed }}>{below}</LoadedForm>;
}

/** The form of a schema is loaded when there is a schema: spaces without one need none of it. */
function LoadedForm(props: SchemaFormProps) {
  const [Form, setForm] = useState<FunctionComponent<SchemaFormProps> | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    import("./schema-form.tsx")
      // A function would be called by the setter.
      .then(({ SchemaForm }) => setForm(() => SchemaForm))
      .catch(() => setFailed(true));
  }, []);
  if (Form !== null) return <Form {...props} />;
  return (
    <section class="card quiet" role="status">
      {failed ? "The form could not be loaded: reload the page." : "Loading…"}
    </section>
  );
}

interface SwitchFormProps extends JobFormProps {
  typed: { current: JsonObject };
  children: ComponentChildren;
}

/** The inputs that the space's settings enable. They keep their content until the edge accepts the job. */
function SwitchForm({ session, resource, state, typed, children }: SwitchFormProps) {
  const [prompt, setPrompt] = useState(String(typed.current.prompt ?? ""));
  const [files, setFiles] = useState<Files>({});
  const sent = useRef({ prompt, files });
  const emptied = useRef(state.accepted);
  useEffect(() => {
    if (emptied.current === state.accepted) return;
    emptied.current = state.accepted;
    // Content that changed while the submit was being sent is kept.
    setPrompt((now) => (now === sent.current.prompt ? "" : now));
    setFiles((now) => (now === sent.current.files ? {} : now));
  }, [state.accepted]);
  useEffect(() => {
    const { prompt: _, ...others } = typed.current;
    typed.current = prompt === "" ? others : { ...others, prompt };
  }, [prompt, typed]);
  const fields = fileFieldsOf(resource);
  const submit = (event: Event) => {
    event.preventDefault();
    if (session.state.submission.kind === "sending") return;
    sent.current = { prompt, files };
    const attachments = fields.flatMap((field) => {
      const file = files[field];
      return file === undefined ? [] : [{ field, file }];
    });
    session.submit(resource.enable_prompt ? prompt : "", attachments);
  };
  return (
    <form
      class="card form"
      aria-label="New job"
      onSubmit={submit}
      onKeyDown={submitOnCtrlEnter}
      onInput={() => session.draftChanged()}
    >
      {resource.enable_prompt && <PromptInput value={prompt} onInput={setPrompt} />}
      {fields.map((field) => (
        <FileInput
          key={field}
          field={field}
          file={files[field] ?? null}
          onChoose={(file) => setFiles({ ...files, [field]: file ?? undefined })}
        />
      ))}
      {!resource.enable_prompt && fields.length === 0 && (
        <p class="quiet">This space asks for no input.</p>
      )}
      {children}
    </form>
  );
}

function PromptInput({ value, onInput }: { value: string; onInput: (text: string) => void }) {
  return (
    <div class="field">
      <label for="prompt">Prompt</label>
      <textarea
        id="prompt"
        data-testid="prompt"
        rows={5}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </div>
  );
}

/** The button is never disabled, because that would lose the focus; clicks while sending are ignored. */
function SubmitLine({ sending, onStop }: { sending: boolean; onStop: (() => void) | null }) {
  return (
    <div class="submit-line">
      <button type="submit" class="primary" data-testid="submit" aria-disabled={sending}>
        {sending ? "Sending…" : "Submit"}
      </button>
      {onStop !== null && (
        <button type="button" class="plain" data-testid="submit-stop" onClick={onStop}>
          Stop
        </button>
      )}
      <span class="quiet keys">
        <kbd>Ctrl</kbd> or <kbd>⌘</kbd> + <kbd>Enter</kbd>
      </span>
    </div>
  );
}

function FormMessages({ resource, state }: Omit<JobFormProps, "session">) {
  const hint = submitHint(state, resource);
  const refusal = shownRefusal(state);
  const trouble = submitTrouble(state);
  const isAboutFields = refusal?.code === "invalid_input" && resource.schema?.input;
  return (
    <>
      {refusal !== null && (
        <p class="error" role="alert" data-testid="form-error" data-code={refusal.code}>
          {isAboutFields
            ? "The space takes no such input: see what is said beside its fields."
            : refusal.message}
        </p>
      )}
      {trouble !== null && (
        <p class="error" role="alert" data-testid="form-trouble">
          {trouble}
        </p>
      )}
      <p class="hint" role="status" data-testid="form-hint">
        {hint}
      </p>
    </>
  );
}
