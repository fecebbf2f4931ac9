import type { EntryProps } from "./schema-fields.tsx";

/** A text, a number, a time, a switch, or JSON. */
export function LineEntry({ id, field, held, onHold, described }: EntryProps) {
  const { kind, label } = field;
  const common = { id, ...described };
  const text = String(held);
  const onInput = (event: { currentTarget: { value: string } }) =>
    onHold(event.currentTarget.value);
  switch (kind.kind) {
    case "switch": {
      // One that is required may still be off.
      const { required: _, ...others } = described;
      return (
        <label class="choice">
          <input
            {...others}
            id={id}
            type="checkbox"
            role="switch"
            aria-checked={held === true}
            checked={held === true}
            onChange={(event) => onHold(event.currentTarget.checked)}
          />
          {label}
        </label>
      );
    }
    case "number":
      return (
        <div class="number-line">
          {kind.slider !== null && (
            <input
              class="slider"
              type="range"
              aria-label={`${label}, slider`}
              min={kind.slider.min}
              max={kind.slider.max}
              step={kind.slider.step}
              value={Number.isFinite(Number(text)) && text !== "" ? text : kind.slider.min}
              onInput={onInput}
            />
          )}
          {/* Not `type="number"`: what isn't a number reaches the page as empty there, and its digits are lost. */}
          <input
            {...common}
            class="number"
            type="text"
            inputMode={kind.isWhole ? "numeric" : "decimal"}
            autocomplete="off"
            value={text}
            onInput={onInput}
          />
        </div>
      );
    case "moment":
      return <input {...common} type={kind.type} step="any" value={text} onInput={onInput} />;
    case "json":
      return (
        <textarea
          {...common}
          class="json"
          rows={4}
          spellcheck={false}
          value={text}
          onInput={onInput}
        />
      );
    default: {
      const isLong = kind.kind === "text" && kind.isLong;
      if (isLong) return <textarea {...common} rows={5} value={text} onInput={onInput} />;
      const type = kind.kind === "text" ? kind.type : "text";
      const mode = type === "email" || type === "url" ? { inputMode: type } : {};
      return (
        <input
          {...common}
          {...mode}
          // Preact's types want to know which of them it is.
          type={(type === "password" ? type : "text") as "text"}
          autocomplete="off"
          value={text}
          onInput={onInput}
        />
      );
    }
  }
}
