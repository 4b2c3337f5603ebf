import { useEffect, useState } from "preact/hooks";
import { get } from "../../api/client";
import type { ExecutionSummary, ExecutionView } from "../../api/types";
import { shortRepo } from "../../domain/names";
import { to } from "../../router/router";

export interface AwaitedApproval {
  readonly href: string;
  readonly name: string;
  readonly detail: string;
}

const MAX_READ = 10;

/** The approvals that an execution and its jobs wait for. */
export function awaitedApprovals(view: ExecutionView): AwaitedApproval[] {
  const { execution } = view;
  const title = `${execution.pipeline_name} #${execution.run_number}`;
  const detail = `${title} · ${shortRepo(execution.repo)}${execution.branch == null ? "" : ` · ${execution.branch}`}`;
  if (view.approval === "awaited") return [{ href: to.execution(execution.id), name: title, detail }];
  return view.jobs
    .filter((job) => job.status === "PENDING" && job.approval === "awaited")
    .map((job) => ({ href: to.job(execution.id, job.job_name), name: job.job_name, detail }));
}

/** What waits for an approval in the newest of these executions. */
export function useApprovals(live: readonly ExecutionSummary[]): AwaitedApproval[] {
  const [found, setFound] = useState<AwaitedApproval[]>([]);
  const key = JSON.stringify(live.slice(0, MAX_READ).map((one) => [one.id, one.status]));
  useEffect(() => {
    const stop = new AbortController();
    const ids = (JSON.parse(key) as [string, string][]).map(([id]) => id);
    const path = "/api/pipeline/status/{executionId}" as const;
    Promise.all(ids.map((executionId) => get(path, { path: { executionId }, signal: stop.signal }))).then(
      (views) => setFound(views.flatMap(awaitedApprovals)),
      () => undefined,
    );
    return () => stop.abort();
  }, [key]);
  return found;
}
