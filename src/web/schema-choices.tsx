import type { Choice } from "./form-fields.ts";
import type { EntryProps } from "./schema-fields.tsx";

interface ChoiceProps extends EntryProps {
  choices: readonly Choice[];
}

/** One of several: as a list to open, or if they are few, side by side. */
export function ChoiceEntry(props: ChoiceProps & { isRadio: boolean }) {
  const { id, field, held, onHold, described, choices, isRadio } = props;
  if (isRadio) {
    return (
      <>
        {choices.map((choice, index) => (
          <label key={choice.label} class="choice">
            <input
              type="radio"
              name={id}
              value={String(index)}
              required={field.isRequired}
              checked={held === String(index)}
              onChange={() => onHold(String(index))}
            />
            <ChoiceText choice={choice} />
          </label>
        ))}
      </>
    );
  }
  return (
    <select
      id={id}
      {...described}
      value={String(held)}
      onChange={(event) => onHold(event.currentTarget.value)}
    >
      <option value="">{field.isRequired ? "Choose…" : "(none)"}</option>
      {choices.map((choice, index) => (
        <option key={choice.label} value={String(index)}>
          {choice.description === null ? choice.label : `${choice.label}: ${choice.description}`}
        </option>
      ))}
    </select>
  );
}

/** Any number of several. */
export function ChoicesEntry({ held, onHold, choices }: ChoiceProps) {
  const chosen = new Set(Array.isArray(held) ? held : []);
  const toggle = (index: string, isChosen: boolean) => {
    if (isChosen) chosen.add(index);
    else chosen.delete(index);
    // In the order of the choices, however they were ticked.
    onHold(choices.map((_, place) => String(place)).filter((place) => chosen.has(place)));
  };
  return (
    <>
      {choices.map((choice, index) => (
        <label key={choice.label} class="choice">
          <input
            type="checkbox"
            checked={chosen.has(String(index))}
            onChange={(event) => toggle(String(index), event.currentTarget.checked)}
          />
          <ChoiceText choice={choice} />
        </label>
      ))}
    </>
  );
}

function ChoiceText({ choice }: { choice: Choice }) {
  return (
    <span>
      {choice.label}
      {choice.description !== null && <span class="quiet small"> {choice.description}</span>}
    </span>
  );
}
