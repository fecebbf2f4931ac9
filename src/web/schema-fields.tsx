import { Examples } from "./example-buttons.tsx";
import { type Held, type HeldGroup, heldOf, pointerIn } from "./form-draft.ts";
import type { FormField } from "./form-fields.ts";
import { ChoiceEntry, ChoicesEntry } from "./schema-choices.tsx";
import { LineEntry } from "./schema-entries.tsx";
import { FilesEntry } from "./schema-files.tsx";
import { ListEntry } from "./schema-list.tsx";

interface SchemaFieldsProps {
  fields: readonly FormField[];
  held: HeldGroup;
  /** By the name of their field. */
  files: ReadonlyMap<string, readonly File[]>;
  /** Of what the fields belong to. */
  pointer: string;
  problems: ReadonlyMap<string, string>;
  onHold: (name: string, held: Held) => void;
  onChoose: (name: string, files: readonly File[]) => void;
}

/** What every entry of a field needs. */
export interface EntryProps {
  id: string;
  field: FormField;
  held: Held;
  onHold: (held: Held) => void;
  /** For the element that is filled in. */
  described: { "aria-describedby": string; "aria-invalid": boolean; required: boolean };
}

/** The id of a field's element: pointers have characters that ids should not have. */
export function idOf(pointer: string): string {
  return `field-${encodeURIComponent(pointer)}`;
}

/** The fields of a form or a group, each with what it means and what is wrong with it. */
export function SchemaFields({ fields, held, files, pointer, ...props }: SchemaFieldsProps) {
  return (
    <>
      {fields.map((field) => {
        const { name, kind } = field;
        const own = Object.hasOwn(held, name) ? held[name] : undefined;
        const value = own ?? heldOf(field, undefined);
        const isFile = kind.kind === "file" && pointer === "/input";
        const place = pointerIn(isFile ? "/files" : pointer, name);
        return (
          <SchemaField
            key={name}
            {...{ ...props, field, value, place, files: files.get(name) ?? [] }}
          />
        );
      })}
    </>
  );
}

type SchemaFieldProps = Pick<SchemaFieldsProps, "problems" | "onHold" | "onChoose"> & {
  field: FormField;
  value: Held;
  place: string;
  files: readonly File[];
};

/** Groups have none. */
const NO_FILES: ReadonlyMap<string, readonly File[]> = new Map();

/** Those of several elements: a legend names them together. */
const TOGETHER: ReadonlySet<string> = new Set(["list", "choices", "group"]);

function SchemaField(props: SchemaFieldProps) {
  const { field, place, problems } = props;
  const id = idOf(place);
  const problem = problems.get(place);
  const described = {
    "aria-describedby": `${id}-problem ${id}-hint`,
    "aria-invalid": problem !== undefined,
    required: field.isRequired,
  };
  const mark = field.isRequired && <Required />;
  const about = <About {...{ id, field, problem }} />;
  const entry = <Entry {...props} id={id} described={described} />;
  if (TOGETHER.has(field.kind.kind) || isRadio(field)) {
    return (
      <fieldset
        id={id}
        tabIndex={-1}
        class="field"
        aria-describedby={described["aria-describedby"]}
      >
        <legend>
          {field.label}
          {mark}
        </legend>
        {entry}
        {about}
      </fieldset>
    );
  }
  const isSwitch = field.kind.kind === "switch";
  return (
    <div class="field">
      {!isSwitch && (
        <label for={id}>
          {field.label}
          {mark}
        </label>
      )}
      {entry}
      {about}
    </div>
  );
}

function Required() {
  return (
    <span class="required" title="required" aria-hidden="true">
      {" *"}
    </span>
  );
}

/** Few choices are seen at once. */
const MOST_RADIOS = 4;

function isRadio({ kind, isRequired, initial }: FormField): boolean {
  if (kind.kind !== "choice" || kind.choices.length > MOST_RADIOS) return false;
  // One that is chosen can't be taken back.
  return isRequired || initial !== undefined;
}

function Entry({
  field,
  value,
  place,
  files,
  id,
  described,
  ...props
}: SchemaFieldProps & Pick<EntryProps, "id" | "described">) {
  const { kind, name } = field;
  const onHold = (next: Held) => props.onHold(name, next);
  const entry = { id, field, held: value, onHold, described };
  switch (kind.kind) {
    case "file":
      return (
        <FilesEntry
          {...{ id, field, file: kind.file, files, described }}
          onChoose={(chosen) => props.onChoose(name, chosen)}
        />
      );
    case "choice":
      return <ChoiceEntry {...entry} choices={kind.choices} isRadio={isRadio(field)} />;
    case "choices":
      return <ChoicesEntry {...entry} choices={kind.choices} />;
    case "list":
      return <ListEntry {...entry} item={kind.item} />;
    case "group":
      return (
        <SchemaFields
          fields={kind.fields}
          held={value as HeldGroup}
          files={NO_FILES}
          pointer={place}
          problems={props.problems}
          onHold={(part, held) => onHold({ ...(value as HeldGroup), [part]: held })}
          onChoose={() => undefined}
        />
      );
    default:
      return (
        <>
          <LineEntry {...entry} />
          <Examples
            label={`Examples for ${field.label}`}
            examples={field.examples}
            onChoose={(example) => onHold(heldOf(field, example))}
          />
        </>
      );
  }
}

function About({
  id,
  field,
  problem,
}: {
  id: string;
  field: FormField;
  problem: string | undefined;
}) {
  const facts = field.facts.join(" · ");
  return (
    <>
      <p class="problem" id={`${id}-problem`} aria-live="polite">
        {problem}
      </p>
      <p class="quiet small" id={`${id}-hint`}>
        {field.description} {facts !== "" && <span class="facts">{facts}</span>}
      </p>
    </>
  );
}
