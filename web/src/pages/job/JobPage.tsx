import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { ExecutionView, JobView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { ApprovalState } from "../../components/ApprovalState";
import { ErrorNote } from "../../components/ErrorNote";
import { NotShown } from "../../components/NotShown";
import { Icon } from "../../components/Icon";
import { StatusBadge, StatusIcon } from "../../components/StatusIcon";
import { Duration } from "../../components/Time";
import { useExecution } from "../../components/useExecution";
import { callerNote } from "../../domain/approvals";
import { executionTone, jobExplanation, jobTone, nextFailed, toneText } from "../../domain/status";
import { LogView } from "../../log/LogView";
import { address, navigate, setFragment, to } from "../../router/router";
import { onKey } from "../../shell/keys";
import { tabState, useTitle } from "../../shell/title";
import { approveJob, cancelJob, jobActions, retryExecution } from "../execution/actions";

function Actions({
  job,
  view,
  refresh,
}: {
  job: JobView;
  view: ExecutionView;
  refresh: () => void;
}): JSX.Element {
  const can = jobActions(job, view);
  const then = (change: Promise<void>): Promise<void> => change.then(refresh);
  return (
    <div class="actions">
      {can.approve && (
        <ActionButton kind="primary" run={() => then(approveJob(job, view))}>
          <Icon name="check" />
          Approve
        </ActionButton>
      )}
      {can.runInRetry && (
        <ActionButton
          title="Starts a retry of the execution, in which this job is approved; if its environment is protected, it waits there for its approvals"
          run={() => retryExecution(view, { approve: [job.job_name] })}
        >
          <Icon name="retry" />
          Run in a retry
        </ActionButton>
      )}
      {can.retry && (
        <ActionButton run={() => retryExecution(view, { jobs: [job.job_name] })}>
          <Icon name="retry" />
          Retry this job
        </ActionButton>
      )}
      {can.cancel && (
        <ActionButton confirm="Really cancel?" run={() => then(cancelJob(job, view))}>
          <Icon name="stop" />
          Cancel
        </ActionButton>
      )}
    </div>
  );
}

function Attempts({
  job,
  view,
  shown,
}: {
  job: JobView;
  view: ExecutionView;
  shown: number;
}): JSX.Element | null {
  if (job.attempt < 2) return null;
  return (
    <nav class="attempts" aria-label="Attempts">
      {Array.from({ length: job.attempt }, (_, at) => at + 1).map((attempt) => {
        const ended = job.attempts.find((one) => one.attempt === attempt);
        const tone = ended === undefined ? jobTone(job) : ended.failure == null ? "success" : "failed";
        return (
          <a
            key={attempt}
            href={to.job(view.execution.id, job.job_name, attempt)}
            aria-current={attempt === shown ? "page" : undefined}
            title={ended?.failure?.message}
          >
            <StatusIcon tone={tone} label /> Attempt {attempt}
          </a>
        );
      })}
    </nav>
  );
}

function NextFailed({ job, view }: { job: JobView; view: ExecutionView }): JSX.Element | null {
  const next = nextFailed(view.jobs, job.job_name);
  const href = next === null ? null : to.job(view.execution.id, next.job_name);
  useEffect(() => (href === null ? undefined : onKey(".", () => navigate(href))), [href]);
  if (next === null || href === null) return null;
  return (
    <p>
      <a href={href}>
        Next failed job: <strong>{next.job_name}</strong>
      </a>{" "}
      <kbd class="wide-only">.</kbd>
    </p>
  );
}

function Facts({ job, view }: { job: JobView; view: ExecutionView }): JSX.Element {
  const labels = Object.entries(job.runs_on ?? {});
  return (
    <ul class="facts">
      <li>{job.stage}</li>
      <li class="mono">{job.docker_image}</li>
      {job.start_time != null && (
        <li>
          <Icon name="clock" />
          <Duration start={job.start_time} end={job.end_time} />
        </li>
      )}
      {job.exit_code != null && <li>exit code {job.exit_code}</li>}
      {job.environment != null && <li>environment {job.environment.name}</li>}
      {labels.map(([name, value]) => (
        <li key={name} class="mono">
          {name}={value}
        </li>
      ))}
      {job.condition != null && <li class="mono">if: {job.condition}</li>}
      {job.needs.length > 0 && job.needs.length <= 8 && (
        <li class="prose">
          needs{" "}
          {job.needs.map((need, at) => (
            <span key={need}>
              {at > 0 && ", "}
              <a href={to.job(view.execution.id, need)}>{need}</a>
            </span>
          ))}
        </li>
      )}
      {job.child != null && (
        <li>
          <StatusIcon tone={executionTone(job.child.status)} label />{" "}
          <a href={to.execution(job.child.execution_id)}>
            {job.child.pipeline_name} #{job.child.run_number}
          </a>
        </li>
      )}
    </ul>
  );
}

function Job({
  job,
  view,
  refresh,
}: {
  job: JobView;
  view: ExecutionView;
  refresh: () => void;
}): JSX.Element {
  const tone = jobTone(job);
  const asked = Number(address.value.query.get("attempt") ?? job.attempt);
  const attempt = Number.isInteger(asked) && asked >= 1 && asked <= job.attempt ? asked : job.attempt;
  const explanation = jobExplanation(job);
  const note = callerNote(job.caller_approval);
  return (
    <>
      <header class="execution-header">
        <div class="page-head">
          <h1>{job.job_name}</h1>
          <StatusBadge tone={tone} />
          <Actions job={job} view={view} refresh={refresh} />
        </div>
        {explanation !== "" && <p class={tone === "failed" ? "failed-text" : "soft"}>{explanation}</p>}
        <Facts job={job} view={view} />
        {job.approvals != null && <ApprovalState progress={job.approvals} />}
        {note !== null && <p class="soft">{note}</p>}
        <NextFailed job={job} view={view} />
        <Attempts job={job} view={view} shown={attempt} />
      </header>
      <LogView job={job} attempt={attempt} lines={address.value.fragment} onLines={setFragment} />
    </>
  );
}

/** One job with its log. */
export function JobPage({ executionId, jobName }: { executionId: string; jobName: string }): JSX.Element {
  const { value: view, error, refresh } = useExecution(executionId);
  const job = view?.jobs.find((one) => one.job_name === jobName);
  const tone = job === undefined ? "pending" : jobTone(job);
  useTitle(
    job === undefined ? jobName : `${jobName} ${toneText(tone).toLowerCase()}`,
    job === undefined ? "idle" : tabState(tone),
  );
  const execution = view?.execution;
  return (
    <main id="main" tabIndex={-1}>
      <nav class="breadcrumb" aria-label="Breadcrumb">
        <a href={to.execution(executionId)}>
          {execution === undefined ? "Execution" : `${execution.pipeline_name} #${execution.run_number}`}
        </a>
        <Icon name="chevron" />
        <span aria-current="page">{jobName}</span>
      </nav>
      {error !== null && view !== null && <ErrorNote error={error} retry={refresh} />}
      {error !== null && view === null && <NotShown what="execution" error={error} retry={refresh} />}
      {view === null && error === null && <p class="dim">Loading…</p>}
      {view !== null && job === undefined && (
        <>
          <h1>There is no such job</h1>
          <p class="empty">
            The execution has no job “{jobName}”. <a href={to.execution(executionId)}>Show its jobs</a>
          </p>
        </>
      )}
      {view !== null && job !== undefined && <Job job={job} view={view} refresh={refresh} />}
    </main>
  );
}
