// Texts about the approvals of a job whose environment is protected.
import type {
  ApprovalProgress,
  CallerApproval,
  ProtectEnvironmentRequest,
  RequiredApprovals,
} from "../api/types";

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

/** How far a job is with its approvals, by the rule that lacks the most: `1 of 2 approvals`; `null` if nothing is missing. */
export function progressText(progress: ApprovalProgress | null | undefined): string | null {
  const lacking = (progress?.required ?? []).filter((rule) => rule.missing > 0);
  const [most] = lacking.sort((a, b) => b.missing - a.missing);
  return most === undefined ? null : countText(most);
}

function countText(rule: RequiredApprovals): string {
  return `${rule.approvals - rule.missing} of ${rule.approvals} approval${rule.approvals === 1 ? "" : "s"}`;
}

/** How far a rule is, and who may approve. */
export function missingText(rule: RequiredApprovals): string {
  const starter = rule.exclude_starter ? ", not by who started the execution" : "";
  const by = rule.by.map(approverText).join(" or ");
  return `${rule.environment}: ${countText(rule)}, to be given by ${by}${starter}`;
}

/** Why the viewer is not offered to approve a job; `null` if they are, or if there is nothing to say. */
export function callerNote(approval: CallerApproval | null | undefined): string | null {
  switch (approval) {
    case "given":
      return "You have approved this job; others are still to approve it.";
    case "starter":
      return "You started this execution, and who started it does not approve this job.";
    case "not_approver":
      return "You are not among those who may approve this job.";
    case "too_many":
      return "This job has the maximum number of approvals, and the rules still lack some.";
    default:
      return null;
  }
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
