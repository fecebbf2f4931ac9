import { useLayoutEffect, useRef } from "preact/hooks";
import { type Held, heldOf } from "./form-draft.ts";
import type { FormField } from "./form-fields.ts";
import { ChoiceEntry } from "./schema-choices.tsx";
import { LineEntry } from "./schema-entries.tsx";
import type { EntryProps } from "./schema-fields.tsx";

/** A list of simple values: entries are added at its end, and each can be removed. */
export function ListEntry({ id, held, onHold, described, item }: EntryProps & { item: FormField }) {
  const entries: readonly Held[] = Array.isArray(held) ? held : [];
  /** The entry that the focus goes to once it is there; -1: the button, because the entry it was in is gone. */
  const next = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (next.current === null) return;
    const target = next.current < 0 ? `${id}-add` : `${id}-${next.current}`;
    document.getElementById(target)?.focus();
    next.current = null;
  });
  const add = () => {
    next.current = entries.length;
    onHold([...entries, heldOf(item, item.initial)]);
  };
  const remove = (index: number) => {
    next.current = entries.length === 1 ? -1 : Math.max(0, index - 1);
    onHold(entries.toSpliced(index, 1));
  };
  return (
    <>
      {entries.map((entry, index) => {
        const label = `Entry ${index + 1}`;
        const own = {
          id: `${id}-${index}`,
          field: { ...item, label },
          held: entry,
          onHold: (value: Held) => onHold(entries.with(index, value)),
          described: { ...described, required: false, "aria-label": label },
        };
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: entries are texts, which may be equal, and have no other name
          <div key={index} class="entry">
            {item.kind.kind === "choice" ? (
              <ChoiceEntry {...own} choices={item.kind.choices} isRadio={false} />
            ) : (
              <LineEntry {...own} />
            )}
            <button type="button" class="plain" onClick={() => remove(index)}>
              Remove<span class="hidden"> entry {index + 1}</span>
            </button>
          </div>
        );
      })}
      <button type="button" id={`${id}-add`} onClick={add}>
        Add<span class="hidden"> an entry</span>
      </button>
    </>
  );
}
