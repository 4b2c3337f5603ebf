import type { JSX } from "preact";
import { ErrorNote } from "../../components/ErrorNote";
import { StatusBadge } from "../../components/StatusIcon";
import { Duration } from "../../components/Time";
import { useExecution } from "../../components/useExecution";
import { jobExplanation, jobTone } from "../../domain/status";
import { LogView } from "../../log/LogView";
import { address, setFragment, to } from "../../router/router";

/** One job with its log. */
export function JobPage({ executionId, jobId }: { executionId: string; jobId: string }): JSX.Element {
  const { value: view, error } = useExecution(executionId);
  const job = view?.jobs.find((one) => one.id === jobId);
  if (view === null || job === undefined) {
    return (
      <main id="main" tabIndex={-1}>
        {error === null ? (
          <p class="soft">{view === null ? "Loading…" : "The execution has no such job."}</p>
        ) : (
          <ErrorNote error={error} />
        )}
      </main>
    );
  }
  const attempt = Number(address.value.query.get("attempt") ?? job.attempt);
  return (
    <main id="main" tabIndex={-1}>
      <nav aria-label="Breadcrumb">
        <a href={to.execution(executionId)}>
          {view.execution.pipeline_name} #{view.execution.run_number}
        </a>
      </nav>
      <h1>{job.job_name}</h1>
      <p>
        <StatusBadge tone={jobTone(job)} /> {jobExplanation(job)}{" "}
        {job.start_time != null && <Duration start={job.start_time} end={job.end_time} />}
      </p>
      <LogView job={job} attempt={attempt} lines={address.value.fragment} onLines={setFragment} />
    </main>
  );
}
