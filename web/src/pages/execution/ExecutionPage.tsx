import type { JSX } from "preact";
import { ErrorNote } from "../../components/ErrorNote";
import { StatusBadge, StatusIcon } from "../../components/StatusIcon";
import { useExecution } from "../../components/useExecution";
import { executionTone, jobTone } from "../../domain/status";
import { to } from "../../router/router";

/** One execution with its jobs. */
export function ExecutionPage({ id }: { id: string }): JSX.Element {
  const { value: view, error } = useExecution(id);
  return (
    <main id="main" tabIndex={-1}>
      {error !== null && <ErrorNote error={error} />}
      {view !== null && (
        <>
          <h1>
            {view.execution.pipeline_name} #{view.execution.run_number}{" "}
            <StatusBadge tone={executionTone(view.execution.status)} />
          </h1>
          <ul>
            {view.jobs.map((job) => (
              <li key={job.id}>
                <StatusIcon tone={jobTone(job)} label /> <a href={to.job(id, job.id)}>{job.job_name}</a>
              </li>
            ))}
          </ul>
        </>
      )}
    </main>
  );
}
