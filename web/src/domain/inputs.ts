// The inputs of a pipeline, from the JSON Schema that the API gives.

export type InputKind = "text" | "number" | "boolean" | "choice";

export interface InputField {
  readonly name: string;
  readonly kind: InputKind;
  readonly description: string;
  readonly required: boolean;
  readonly options: readonly string[];
  /** The default, as text. */
  readonly initial: string;
}

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === "object" && value !== null ? (value as Json) : {};
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : "";
}

function kindOf(property: Json): InputKind {
  if (Array.isArray(property.enum)) return "choice";
  const types = Array.isArray(property.type) ? (property.type as unknown[]) : [property.type];
  if (types.includes("boolean")) return "boolean";
  return types.includes("number") || types.includes("integer") ? "number" : "text";
}

export function inputFields(schema: unknown): InputField[] {
  const { properties, required } = object(schema);
  const names = Array.isArray(required) ? (required as unknown[]) : [];
  return Object.entries(object(properties)).map(([name, value]) => {
    const property = object(value);
    return {
      name,
      kind: kindOf(property),
      description: text(property.description),
      required: names.includes(name),
      options: Array.isArray(property.enum) ? (property.enum as unknown[]).map(text) : [],
      initial: text(property.default),
    };
  });
}

/** A number, or its text if a number of JavaScript cannot have that value. */
function numberOf(value: string): number | string {
  const number = Number(value);
  return /^-?\d+$/.test(value) && !Number.isSafeInteger(number) ? value : number;
}

/** The values to send: those that the user changed, so that the default holds for others. */
export function inputValues(
  fields: readonly InputField[],
  texts: ReadonlyMap<string, string>,
): Record<string, string | number | boolean> {
  const values: Record<string, string | number | boolean> = {};
  for (const field of fields) {
    const value = texts.get(field.name) ?? field.initial;
    const isChanged = value !== field.initial;
    if (field.kind === "boolean") {
      if (isChanged || field.required) values[field.name] = value === "true";
    } else if (isChanged && field.kind === "number") {
      if (value !== "") values[field.name] = numberOf(value);
    } else if (isChanged) {
      values[field.name] = value;
    }
  }
  return values;
}
