// What a user can do with an execution or a job in its present state, and the calls for that.
import { post } from "../../api/client";
import { once } from "../../api/idempotency";
import type { ExecutionView, JobView } from "../../api/types";
import { hasEnded } from "../../domain/status";
import { navigate, to } from "../../router/router";

export interface ExecutionActions {
  readonly approve: boolean;
  readonly cancel: boolean;
  readonly retryUnsuccessful: boolean;
  readonly retryAll: boolean;
  readonly pin: boolean;
  readonly unpin: boolean;
}

export function executionActions(view: ExecutionView): ExecutionActions {
  const { execution } = view;
  if (view.caller_may_run !== true)
    return {
      approve: false,
      cancel: false,
      retryUnsuccessful: false,
      retryAll: false,
      pin: false,
      unpin: false,
    };
  const ended = hasEnded(execution.status);
  const pipeline = execution.kind === "run_pipeline";
  return {
    approve: !ended && view.approval === "awaited",
    cancel: !ended && execution.cancel_requested !== true,
    retryUnsuccessful: ended && pipeline && view.jobs.some((job) => job.status !== "SUCCESS"),
    retryAll: ended && pipeline,
    pin: ended && pipeline && view.pin == null,
    unpin: view.pin != null,
  };
}

export interface JobActions {
  readonly approve: boolean;
  readonly cancel: boolean;
  readonly retry: boolean;
  /** Runs the job, which nobody approved in time, in a retry of its execution. */
  readonly runInRetry: boolean;
}

export function jobActions(job: JobView, view: ExecutionView): JobActions {
  if (view.caller_may_run !== true) return { approve: false, cancel: false, retry: false, runInRetry: false };
  const isEndedPipeline = hasEnded(view.execution.status) && view.execution.kind === "run_pipeline";
  const notApproved = job.failure_reason?.kind === "not_approved";
  return {
    approve: job.approval === "awaited" && job.caller_approval === "counts",
    cancel: !hasEnded(job.status) && view.execution.cancel_requested !== true,
    retry: isEndedPipeline && !notApproved,
    runInRetry: isEndedPipeline && notApproved,
  };
}

export async function approveExecution(view: ExecutionView): Promise<void> {
  const { id, repo } = view.execution;
  await post("/api/pipeline/approve/{executionId}", { path: { executionId: id }, query: { repo } });
}

export async function cancelExecution(view: ExecutionView): Promise<void> {
  const { id, repo } = view.execution;
  await post("/api/pipeline/cancel/{executionId}", { path: { executionId: id }, query: { repo } });
}

/** Retries an execution and shows the new one. */
/** Keeps an execution for ever, whatever the rules of retention say, or leaves it to them again. */
export async function pinExecution(view: ExecutionView, pinned: boolean): Promise<void> {
  const { id, repo } = view.execution;
  await post("/api/pipeline/pin/{executionId}", {
    path: { executionId: id },
    query: { repo },
    body: { pinned },
  });
}

export async function retryExecution(
  view: ExecutionView,
  request: { all?: boolean; jobs?: string[]; approve?: string[] },
): Promise<void> {
  const { id, repo } = view.execution;
  const path = "/api/pipeline/retry/{executionId}" as const;
  const reply = await once({ retry: id, request }, (headers) =>
    post(path, { path: { executionId: id }, query: { repo }, body: request, headers }),
  );
  navigate(to.execution(reply.execution_id));
}

export async function approveJob(job: JobView, view: ExecutionView): Promise<void> {
  await post("/api/job/approve/{jobId}", { path: { jobId: job.id }, query: { repo: view.execution.repo } });
}

export async function cancelJob(job: JobView, view: ExecutionView): Promise<void> {
  await post("/api/job/cancel/{jobId}", { path: { jobId: job.id }, query: { repo: view.execution.repo } });
}
