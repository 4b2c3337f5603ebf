// Tokens of the API.
import type { Body } from "../api/client";
import type { Scope } from "../api/types";

/** The scopes, and what each allows. */
export const SCOPES: readonly { readonly name: Scope; readonly about: string }[] = [
  { name: "read", about: "see executions, logs and artifacts" },
  { name: "run", about: "also start, approve, cancel and retry" },
  { name: "worker", about: "run jobs, for a worker" },
  { name: "admin", about: "everything" },
];

/** For how long a token may be valid, in days; 0: until it is revoked. */
export const TERMS: readonly { readonly days: number; readonly text: string }[] = [
  { days: 7, text: "7 days" },
  { days: 30, text: "30 days" },
  { days: 90, text: "90 days" },
  { days: 365, text: "a year" },
  { days: 0, text: "until it is revoked" },
];

export interface TokenForm {
  readonly name: string;
  readonly scope: Scope;
  readonly repo: string;
  readonly days: number;
}

/** The token that a form describes. An empty repository means all; a worker is never of one repository. */
export function tokenRequest({ name, scope, repo, days }: TokenForm): Body<"/api/token", "post"> {
  const place = repo.trim();
  return {
    name: name.trim(),
    scopes: [scope],
    ...(place === "" || scope === "worker" ? {} : { repo: place }),
    ...(days === 0 ? {} : { expire_in_s: days * 86_400 }),
  };
}
