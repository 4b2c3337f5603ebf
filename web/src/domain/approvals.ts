// Texts about the approvals of a job whose environment is protected.
import type { ApprovalProgress, ProtectEnvironmentRequest, RequiredApprovals } from "../api/types";

/** Who may approve, by a pattern of a rule: `user:oidc:ann`, `group:github:acme/*`, `role:maintainer`, `token:release`. */
export function approverText(pattern: string): string {
  if (pattern === "user:*") return "everyone who may approve";
  const at = pattern.indexOf(":");
  const [kind, name] = [pattern.slice(0, at), pattern.slice(at + 1)];
  switch (kind) {
    case "user":
      return name;
    case "group":
      return `group ${name}`;
    case "role":
      return `${name}s`;
    default:
      return `${kind} ${name}`;
  }
}

/** How many approvals are missing, of all rules together at least. */
export function missingApprovals(progress: ApprovalProgress): number {
  return Math.max(0, ...(progress.required ?? []).map((rule) => rule.missing));
}

/** What a rule still requires. */
export function missingText(rule: RequiredApprovals): string {
  const starter = rule.exclude_starter ? ", not by who started the execution" : "";
  const by = rule.by.map(approverText).join(" or ");
  return `${rule.environment}: ${rule.missing} of ${rule.approvals} missing, by ${by}${starter}`;
}

/** The rule that a form describes. Patterns are separated by commas or spaces. */
export function protectRequest(
  repo: string,
  form: { environment: string; approvals: string; by: string; excludeStarter: boolean },
): ProtectEnvironmentRequest {
  return {
    repo,
    environment: form.environment.trim(),
    approvals: Number(form.approvals),
    by: form.by.split(/[\s,]+/).filter((pattern) => pattern !== ""),
    exclude_starter: form.excludeStarter,
  };
}
