import type { InputHTMLAttributes } from "preact";

interface TextFieldProps {
  id: string;
  label: string;
  value: string;
  onInput: (text: string) => void;
  type?: "text" | "email" | "password";
  autocomplete?: InputHTMLAttributes["autocomplete"];
  hint?: string;
  minLength?: number;
  maxLength?: number;
  required?: boolean;
}

/** One line of text with its label. */
export function TextField(props: TextFieldProps) {
  const { id, label, value, onInput, hint, type = "text", required = true, ...rest } = props;
  const described = hint === undefined ? {} : { "aria-describedby": `${id}-hint` };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        {...rest}
        {...described}
        // Preact's types want to know which of them it is.
        type={type as "text"}
        id={id}
        name={id}
        required={required}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {hint !== undefined && (
        <p class="quiet small" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}
