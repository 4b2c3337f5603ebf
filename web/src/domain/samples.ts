// Jobs and executions for tests.
import type { ExecutionSummary, ExecutionView, JobView } from "../api/types";

export function job(name: string, changes: Partial<JobView> = {}): JobView {
  return {
    id: `id-${name}`,
    pipeline_execution_id: "execution",
    stage: "test",
    job_name: name,
    docker_image: "busybox",
    status: "PENDING",
    needs: [],
    allow_failure: false,
    attempt: 0,
    attempts: [],
    queued_at: null,
    start_time: null,
    end_time: null,
    exit_code: null,
    failure_reason: null,
    steps: [],
    phase: null,
    log_bytes: 0,
    ...changes,
  };
}

export function execution(id: string, changes: Partial<ExecutionSummary> = {}): ExecutionSummary {
  return {
    id,
    kind: "run_pipeline",
    pipeline_name: "ci",
    run_number: 1,
    repo: "https://git.example.org/a/b.git",
    branch: "main",
    commit: null,
    status: "SUCCESS",
    trigger: "push",
    requested_by: null,
    created_at: "2026-01-01T00:00:00Z",
    start_time: null,
    end_time: null,
    ...changes,
  };
}

export function view(stages: string[], jobs: JobView[]): ExecutionView {
  return { execution: execution("execution"), stages, jobs };
}

/** A time, so many seconds after the beginning. */
export function at(seconds: number): string {
  return new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString();
}
