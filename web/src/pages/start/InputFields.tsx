import type { JSX } from "preact";
import type { InputField } from "../../domain/inputs";
import type { ReadPipeline } from "./usePipeline";

interface Props {
  readonly field: InputField;
  readonly value: string;
  readonly onValue: (value: string) => void;
}

function Control({ field, value, onValue }: Props): JSX.Element {
  const describedBy = field.description === "" ? {} : { "aria-describedby": `input-${field.name}` };
  if (field.kind === "choice") {
    return (
      <select
        required={field.required}
        value={value}
        onChange={(event) => onValue(event.currentTarget.value)}
        {...describedBy}
      >
        {value === "" && <option value="">Choose…</option>}
        {field.options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    );
  }
  const common = {
    required: field.required,
    value,
    onInput: (event: Event & { currentTarget: HTMLInputElement }) => onValue(event.currentTarget.value),
    ...describedBy,
  };
  if (field.kind === "number") return <input type="number" step="any" {...common} />;
  // A browser's regular expressions are not those of the server, which checks the value.
  return <input {...common} />;
}

/** The control of one input, by its type. */
export function InputControl(props: Props): JSX.Element {
  const { field, value, onValue } = props;
  const description = field.description !== "" && (
    <span class="hint" id={`input-${field.name}`}>
      {field.description}
    </span>
  );
  if (field.kind === "boolean") {
    return (
      <div>
        <label class="check">
          <input
            type="checkbox"
            checked={value === "true"}
            onChange={(event) => onValue(String(event.currentTarget.checked))}
          />
          <span>{field.name}</span>
        </label>
        {description}
      </div>
    );
  }
  return (
    <div>
      <label class="field">
        <span>
          {field.name} {field.required && <span class="dim">(required)</span>}
        </span>
        <Control {...props} />
      </label>
      {description}
    </div>
  );
}

/** The inputs of a pipeline. They cannot be changed while another text is read. */
export function PipelineInputs({
  read,
  current,
  texts,
  onTexts,
}: {
  read: ReadPipeline;
  current: boolean;
  texts: ReadonlyMap<string, string>;
  onTexts: (texts: ReadonlyMap<string, string>) => void;
}): JSX.Element {
  return (
    <fieldset disabled={!current}>
      <legend>
        Inputs of <strong>{read.name}</strong>
      </legend>
      {read.fields.length === 0 && <p class="dim">The pipeline has no inputs.</p>}
      {read.fields.map((field) => (
        <InputControl
          key={field.name}
          field={field}
          value={texts.get(field.name) ?? field.initial}
          onValue={(value) => onTexts(new Map(texts).set(field.name, value))}
        />
      ))}
    </fieldset>
  );
}
