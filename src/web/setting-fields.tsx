import { useEffect, useRef } from "preact/hooks";
import { SettingInput, settingId } from "./setting-field.tsx";
import { fieldGroups, labelOf, type Problems } from "./setting-form.ts";
import type { SettingForm } from "./use-setting-form.ts";

/** The fields of all settings, in groups. */
export function SettingFields({ form }: { form: SettingForm }) {
  return (
    <>
      {fieldGroups().map(({ title, fields }) => (
        <fieldset key={title} class="settings">
          <legend>{title}</legend>
          {fields.map((field) => (
            <SettingInput
              key={field.name}
              field={field}
              held={form.draft[field.name] ?? ""}
              problem={form.problems[field.name]}
              onInput={(held) => form.set(field.name, held)}
            />
          ))}
        </fieldset>
      ))}
    </>
  );
}

/** What is wrong with a form that was sent; a number, so that each sending moves the focus here again. */
export interface Sent {
  count: number;
  /** What the edge said about the form as a whole. */
  refusal: string | null;
}

interface ProblemListProps {
  problems: Problems;
  sent: Sent;
}

/** The list of what is wrong, with links to the fields. It gets the focus when the form was sent in vain. */
export function ProblemList({ problems, sent }: ProblemListProps) {
  const place = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each sending moves the focus, not each change
  useEffect(() => place.current?.focus(), [sent.count]);
  const names = Object.keys(problems);
  if (sent.count === 0 || (names.length === 0 && sent.refusal === null)) return null;
  return (
    <div class="error summary" role="alert" tabIndex={-1} ref={place}>
      {sent.refusal !== null && <p>{sent.refusal}</p>}
      {names.length > 0 && (
        <>
          <p>{names.length === 1 ? "One field needs" : `${names.length} fields need`} a change:</p>
          <ul>
            {names.map((name) => (
              <li key={name}>
                <a href={`#${settingId(name)}`} onClick={(event) => goTo(event, name)}>
                  {labelOf(name)}
                </a>
                : {problems[name]}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function goTo(event: Event, name: string): void {
  event.preventDefault();
  document.getElementById(settingId(name))?.focus();
}
