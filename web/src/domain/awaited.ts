// What waits for an approval, as rows of a list.
import type { AwaitedJob, Overview } from "../api/types";
import { to } from "../router/router";
import { progressText } from "./approvals";
import { baseName } from "./graph";
import { shortRepo } from "./names";

export interface ApprovalRow {
  readonly href: string;
  readonly name: string;
  readonly detail: string;
  /** `1 of 2 approvals`, if an environment requires them. */
  readonly progress: string | null;
  /** Whether the approval of the viewer counts. */
  readonly isMine: boolean;
}

/** One row for each execution, job or matrix that waits. */
export function approvalRows(approvals: Overview["approvals"]): ApprovalRow[] {
  return approvals.flatMap(({ execution, jobs, caller_may_run }) => {
    const title = `${execution.pipeline_name} #${execution.run_number}`;
    const detail = [title, shortRepo(execution.repo), execution.branch]
      .filter((part) => part != null)
      .join(" · ");
    const href = to.execution(execution.id);
    if (jobs.length === 0)
      return [{ href, name: title, detail, progress: null, isMine: caller_may_run === true }];
    const groups = new Map<string, AwaitedJob[]>();
    for (const job of jobs) {
      // Variants that others approve have a row of their own.
      const group = `${job.caller_approval === "counts"} ${baseName(job.name)}`;
      groups.set(group, [...(groups.get(group) ?? []), job]);
    }
    return [...groups.values()].map((members) => {
      const [first] = members;
      const name = baseName(first?.name ?? "");
      const isMine = first?.caller_approval === "counts";
      return members.length === 1 && first !== undefined
        ? {
            href: to.job(execution.id, first.name),
            name: first.name,
            detail,
            progress: progressText(first.approvals),
            isMine,
          }
        : { href, name: `${name} (${members.length} variants)`, detail, progress: null, isMine };
    });
  });
}
