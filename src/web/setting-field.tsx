import { type FieldKind, factsOf, longTime, type SettingField } from "./setting-form.ts";

interface SettingInputProps {
  field: SettingField;
  held: string | boolean;
  problem: string | undefined;
  onInput: (held: string | boolean) => void;
}

/** The field of a setting by its id, for links from the list of what is wrong. */
export const settingId = (name: string) => `setting-${name}`;

/** One setting: its field, what it means, and what is wrong with what was typed. */
export function SettingInput({ field, held, problem, onInput }: SettingInputProps) {
  const { name, text, input } = field;
  const id = settingId(name);
  const described = {
    "aria-describedby": problem === undefined ? `${id}-hint` : `${id}-problem ${id}-hint`,
    "aria-invalid": problem !== undefined,
  };
  const common = { id, name, ...described };
  const isSwitch = input.kind === "switch";
  return (
    <div class="field setting">
      {isSwitch ? (
        <label class="choice">
          <input
            {...common}
            type="checkbox"
            checked={held === true}
            onChange={(event) => onInput(event.currentTarget.checked)}
          />
          {text.label}
        </label>
      ) : (
        <>
          <label for={id}>{text.label}</label>
          <Entry
            common={common}
            input={input}
            choices={text.choices}
            held={String(held)}
            onInput={onInput}
          />
        </>
      )}
      <Problem id={id} text={problem} />
      <p class="quiet small" id={`${id}-hint`}>
        {text.text} <Facts field={field} held={held} />
      </p>
    </div>
  );
}

interface EntryProps {
  common: { id: string; name: string };
  input: FieldKind;
  choices: Record<string, string> | undefined;
  held: string;
  onInput: (held: string) => void;
}

function Entry({ common, input, choices = {}, held, onInput }: EntryProps) {
  if (input.kind === "choice") {
    return (
      <select {...common} value={held} onChange={(event) => onInput(event.currentTarget.value)}>
        {input.options.map((option) => (
          <option key={option} value={option}>
            {choices[option] === undefined ? option : `${option}: ${choices[option]}`}
          </option>
        ))}
      </select>
    );
  }
  if (input.kind === "text" && input.isLong) {
    return (
      <textarea {...common} value={held} onInput={(event) => onInput(event.currentTarget.value)} />
    );
  }
  // Not `type="number"`: what isn't a number reaches the page as empty there, and empty may mean no limit.
  const mode =
    input.kind === "number"
      ? { inputMode: input.isWhole ? ("numeric" as const) : ("decimal" as const), class: "number" }
      : {};
  return (
    <input
      {...common}
      {...mode}
      type="text"
      autocomplete="off"
      value={held}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

/** Said by screen readers while the field is typed in. */
export function Problem({ id, text }: { id: string; text: string | undefined }) {
  return (
    <p class="problem" id={`${id}-problem`} aria-live="polite">
      {text}
    </p>
  );
}

/** What a program calls the setting, what may be typed, and how long the typed seconds are. */
function Facts({ field, held }: { field: SettingField; held: string | boolean }) {
  const time = longTime(field.name, held);
  return (
    <span class="facts">
      {time !== "" && <strong>{time} · </strong>}
      {[...factsOf(field), ""].join(" · ")}
      <code>{field.name}</code>
    </span>
  );
}
