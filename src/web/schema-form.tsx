// This file begins a part of the page's script. What parts share begins with what all of them begin with.
import "./no-eval.ts";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { JsonObject } from "../protocol/codec.ts";
import { isObject } from "../schema/json-kind.ts";
import { Examples } from "./example-buttons.tsx";
import { inputOf } from "./form-draft.ts";
import type { PageSession } from "./page-session.ts";
import type { PageState } from "./page-state.ts";
import { idOf, SchemaFields } from "./schema-fields.tsx";
import {
  attachmentsOf,
  type SchemaForm as Form,
  type FormProblems,
  type KnownSchema,
  newForm,
  placeErrors,
  problemsIn,
  typedIn,
  withExample,
  withSchema,
} from "./schema-form-state.ts";
import { submitOnCtrlEnter } from "./submit-keys.ts";

export interface SchemaFormProps {
  session: PageSession;
  schema: KnownSchema;
  state: PageState;
  /** What somebody typed, for the form that may come instead of this one. */
  typed: { current: JsonObject };
  /** The button, and what is said of the submit. */
  children: ComponentChildren;
}

/** The form that the schema of the space stands for. Its content stays after a submit: the next one often differs little. */
export function SchemaForm({ session, schema, state, typed, children }: SchemaFormProps) {
  const [held, setHeld] = useState<Form>(() => newForm(schema, typed.current));
  const [showsAll, setShowsAll] = useState(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a schema of the same version is the same
  const form = useMemo(
    () => (held.version === schema.version ? held : withSchema(held, schema)),
    [held, schema.version],
  );
  const latest = useRef(form);
  latest.current = form;
  // biome-ignore lint/correctness/useExhaustiveDependencies: it is a place, and what lies there is no reason to run
  useEffect(() => {
    typed.current = { ...typed.current, ...typedIn(form) };
  }, [form]);
  const found = useMemo(() => problemsIn(form), [form]);
  const problems = shownProblems(form, found, state, showsAll);
  const change = (make: (before: Form) => Form) => {
    latest.current = make(latest.current);
    setHeld(latest.current);
    session.draftChanged();
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (session.state.submission.kind === "sending") return;
    const { byField, others } = found;
    setShowsAll(byField.size > 0);
    if (byField.size + others.length > 0) return focusFirst(byField);
    session.submitInput(inputOf(form.fields, form.draft), attachmentsOf(form));
  };
  const { examples, description } = schema.input;
  const wholes = Array.isArray(examples) ? examples.filter(isObject) : [];
  return (
    <form
      class="card form tall"
      aria-label="New job"
      noValidate
      onSubmit={submit}
      onKeyDown={submitOnCtrlEnter}
    >
      {typeof description === "string" && <p class="quiet">{description}</p>}
      <Examples
        label="Examples"
        examples={wholes}
        onChoose={(example) => isObject(example) && change((form) => withExample(form, example))}
      />
      {form.fields.length === 0 && <p class="quiet">This space asks for no input.</p>}
      <SchemaFields
        fields={form.fields}
        held={form.draft}
        files={form.files}
        pointer="/input"
        problems={problems.byField}
        onHold={(name, value) =>
          change((form) => ({
            ...form,
            draft: { ...form.draft, [name]: value },
            touched: new Set([...form.touched, name]),
          }))
        }
        onChoose={(name, files) =>
          change((form) => ({
            ...form,
            files: { ...form.files, [name]: files },
            touched: new Set([...form.touched, name]),
          }))
        }
      />
      <Summary problems={problems} isShown={showsAll} />
      {children}
    </form>
  );
}

/** What the edge refused, or else what is wrong with what was typed; everything once the form was sent. */
function shownProblems(
  form: Form,
  found: FormProblems,
  { submission }: PageState,
  showsAll: boolean,
): FormProblems {
  if (submission.kind === "refused" && submission.errors.length > 0) {
    return placeErrors(form, submission.errors);
  }
  if (showsAll) return found;
  const shown = [...found.byField].filter(([pointer]) => form.touched.has(nameIn(pointer)));
  return { ...found, byField: new Map(shown) };
}

/** The field of the input that a pointer leads into. */
function nameIn(pointer: string): string {
  const [, , name = ""] = pointer.split("/");
  return name.replaceAll("~1", "/").replaceAll("~0", "~");
}

function Summary({ problems, isShown }: { problems: FormProblems; isShown: boolean }) {
  const { labels, others } = problems;
  const count = labels.length;
  return (
    <div role="alert">
      {isShown && count > 0 && (
        <p class="error" data-testid="form-problems">
          {count === 1 ? "One field needs a change" : `${count} fields need a change`}:{" "}
          {labels.join(", ")}.
        </p>
      )}
      {others.map((text) => (
        <p key={text} class="error">
          {text}
        </p>
      ))}
    </div>
  );
}

function focusFirst(problems: ReadonlyMap<string, string>): void {
  const [first] = problems.keys();
  if (first !== undefined) document.getElementById(idOf(first))?.focus();
}
