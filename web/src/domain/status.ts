// What the status of a job or an execution means to a reader.
import type { ExecutionStatus, ExecutionView, JobStatus, JobView } from "../api/types";
import { progressText } from "./approvals";

/** How something is shown: its icon, its colour and its place in a list. */
export type Tone =
  "success" | "failed" | "tolerated" | "canceled" | "skipped" | "running" | "queued" | "approval" | "pending";

export function executionTone(status: ExecutionStatus): Tone {
  const tones: Record<ExecutionStatus, Tone> = {
    PENDING: "pending",
    RUNNING: "running",
    SUCCESS: "success",
    FAILED: "failed",
    CANCELED: "canceled",
  };
  return tones[status];
}

/** Whether a failure of the job does not fail its execution. */
export function isTolerated(job: JobView): boolean {
  return job.allow_failure || job.tolerated === true;
}

export function jobTone(job: JobView): Tone {
  if (job.status === "FAILED" && isTolerated(job)) return "tolerated";
  if (job.status === "PENDING" && job.approval === "awaited") return "approval";
  const tones: Record<JobStatus, Tone> = {
    PENDING: "pending",
    QUEUED: "queued",
    RUNNING: "running",
    SUCCESS: "success",
    FAILED: "failed",
    CANCELED: "canceled",
    SKIPPED: "skipped",
  };
  return tones[job.status];
}

const TONE_TEXT: Record<Tone, string> = {
  success: "Succeeded",
  failed: "Failed",
  tolerated: "Failed, allowed",
  canceled: "Canceled",
  skipped: "Skipped",
  running: "Running",
  queued: "Queued",
  approval: "Waiting for approval",
  pending: "Waiting",
};

export function toneText(tone: Tone): string {
  return TONE_TEXT[tone];
}

/** Whether a status never changes again. */
export function hasEnded(status: JobStatus | ExecutionStatus): boolean {
  return status === "SUCCESS" || status === "FAILED" || status === "CANCELED" || status === "SKIPPED";
}

const ORDER: readonly Tone[] = [
  "failed",
  "approval",
  "running",
  "tolerated",
  "queued",
  "pending",
  "canceled",
  "success",
  "skipped",
];

/** The jobs with those first that need attention; otherwise in the plan's order. */
export function byAttention(jobs: readonly JobView[]): JobView[] {
  const place = (job: JobView): number => ORDER.indexOf(jobTone(job));
  return [...jobs].sort((a, b) => place(a) - place(b));
}

/** The failed job after this one in the plan's order, after the last one the first; `null`: no other one failed. */
export function nextFailed(jobs: readonly JobView[], jobName: string): JobView | null {
  const at = jobs.findIndex((job) => job.job_name === jobName);
  const others = [...jobs.slice(at + 1), ...jobs.slice(0, Math.max(0, at))];
  return others.find((job) => jobTone(job) === "failed") ?? null;
}

/** Why a job is in its state, in one phrase. */
export function jobExplanation(job: JobView): string {
  const reason = job.failure_reason?.message ?? "no reason is recorded";
  switch (job.status) {
    case "SUCCESS":
      return job.carried_from == null ? "" : "succeeded in the retried execution";
    case "FAILED":
    case "SKIPPED":
      return reason;
    case "CANCELED":
      return job.failure_reason?.message ?? "";
    case "RUNNING":
      return job.phase ?? "";
    case "QUEUED": {
      if (job.not_before != null)
        return job.failure_reason == null ? "starts later" : `tried again soon: ${reason}`;
      const labels = Object.entries(job.runs_on ?? {}).map(([name, value]) => `${name}=${value}`);
      const missing = Object.entries(job.unserved_labels ?? {}).map(([name, value]) => `${name}=${value}`);
      const needed = `waiting for a worker${labels.length === 0 ? "" : ` with ${labels.join(", ")}`}`;
      if (missing.length === 0) return needed;
      return missing.length === labels.length
        ? `${needed}, which no worker has`
        : `${needed}; no worker has ${missing.join(", ")}`;
    }
    case "PENDING":
      return waitExplanation(job);
  }
}

function waitExplanation(job: JobView): string {
  if (job.approval === "awaited") {
    const progress = progressText(job.approvals);
    return progress === null ? "waiting for approval" : `waiting for approval: ${progress}`;
  }
  const wait = job.waits_for_place;
  if (wait != null) {
    const holder = wait.holders[0];
    const held =
      holder === undefined
        ? ""
        : `, held by ${holder.pipeline_name} #${holder.run_number} ${holder.job_name}`;
    return `waiting for concurrency group “${wait.group}”${held}`;
  }
  return job.needs.length === 0
    ? "waiting"
    : `waiting for ${job.needs.slice(0, 3).join(", ")}${job.needs.length > 3 ? "…" : ""}`;
}

/** Why a job of this execution was not queued yet: a job without needs waits for the stages before its own. */
export function notQueuedReason(job: JobView, view: ExecutionView): string {
  const explanation = jobExplanation(job);
  const isOfLaterStage = job.stage !== view.stages[0];
  return explanation === "waiting" && isOfLaterStage ? "waiting for the stages before" : explanation;
}

/** A note on the whole execution, if there is one to make. */
export function executionNote(view: ExecutionView): string | null {
  if (view.execution.timed_out === true) return "The execution ran longer than its pipeline’s timeout.";
  if (view.execution.superseded_by != null) return "A newer execution superseded this one.";
  if (view.approval === "awaited") return "The execution starts when a user approves it.";
  if (view.waits_for != null) return "The execution waits for an older one of its concurrency group.";
  if (view.execution.cancel_requested === true && view.execution.end_time == null) return "Canceling…";
  return null;
}

/** How many jobs there are of each tone. */
export function countTones(jobs: readonly JobView[]): Map<Tone, number> {
  const counts = new Map<Tone, number>();
  for (const job of jobs) {
    const tone = jobTone(job);
    counts.set(tone, (counts.get(tone) ?? 0) + 1);
  }
  return counts;
}
