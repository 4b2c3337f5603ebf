// Roles of people.
import type { Body } from "../api/client";
import type { Role } from "../api/types";

/** The roles, the lowest first, and what each may do beyond those before it. */
export const ROLES: readonly [RoleText, ...RoleText[]] = [
  { name: "viewer", about: "sees executions, logs and artifacts" },
  { name: "developer", about: "also starts, approves, cancels and retries executions" },
  {
    name: "maintainer",
    about: "also administers the repositories: registration, secrets, variables, badges",
  },
  { name: "admin", about: "everything, in all repositories: tokens, roles, workers and the audit log, too" },
];

interface RoleText {
  readonly name: Role;
  readonly about: string;
}

/** For whom a rule is. */
export type Holder = "user" | "group" | "everyone";

export const HOLDERS: readonly { kind: Holder; text: string }[] = [
  { kind: "user", text: "a person" },
  { kind: "group", text: "a group" },
  { kind: "everyone", text: "everyone who signs in" },
];

/** The rule that a form describes. An empty repository means all. */
export function roleRequest(
  role: string,
  holder: Holder,
  name: string,
  repo: string,
): Body<"/api/role", "post"> {
  const known = ROLES.find((one) => one.name === role) ?? ROLES[0];
  const place = repo.trim();
  return {
    role: known.name,
    ...(holder === "everyone" ? {} : { [holder]: name.trim() }),
    ...(place === "" || place === "*" ? {} : { repo: place }),
  };
}
