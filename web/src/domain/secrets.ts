// Secrets and variables of repositories.
import type { Body } from "../api/client";

/** What a value is: never shown again, masked in logs, or plain. */
export type ValueKind = "secret" | "masked" | "variable";

export const VALUE_KINDS: readonly { readonly kind: ValueKind; readonly text: string }[] = [
  { kind: "secret", text: "secret" },
  { kind: "masked", text: "masked variable" },
  { kind: "variable", text: "variable" },
];

export interface SecretForm {
  readonly name: string;
  readonly value: string;
  readonly kind: ValueKind;
  readonly environment: string;
}

/** The secret or variable that a form describes. An empty environment means all. */
export function secretRequest(
  repo: string,
  { name, value, kind, environment }: SecretForm,
): Body<"/api/secret", "post"> {
  const place = environment.trim();
  return {
    repo,
    name: name.trim(),
    value,
    ...(place === "" ? {} : { environment: place }),
    ...(kind === "secret" ? {} : { variable: { masked: kind === "masked" } }),
  };
}
