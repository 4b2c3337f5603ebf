import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { ExecutionView, JobView } from "../../api/types";
import { Icon } from "../../components/Icon";
import { StatusIcon } from "../../components/StatusIcon";
import { Duration } from "../../components/Time";
import { groupJobs, type JobGroup } from "../../domain/graph";
import { countTones, executionTone, jobExplanation, jobTone, toneText } from "../../domain/status";
import { to } from "../../router/router";

function JobRow({ job }: { job: JobView }): JSX.Element {
  const tone = jobTone(job);
  return (
    <li class="job-row">
      <a href={to.job(job.pipeline_execution_id, job.job_name)}>
        <StatusIcon tone={tone} label />
        <strong class="cut">{job.job_name}</strong>
        <span class={`cut ${tone === "failed" ? "failed-text" : "dim"}`}>{jobExplanation(job)}</span>
        <span class="dim number">{job.attempt > 1 && `attempt ${job.attempt}`}</span>
        <span class="dim">
          {job.start_time != null && job.carried_from == null && (
            <Duration start={job.start_time} end={job.end_time} />
          )}
        </span>
      </a>
      {job.child != null && (
        <a class="job-child dim" href={to.execution(job.child.execution_id)}>
          <StatusIcon tone={executionTone(job.child.status)} label />
          {job.child.pipeline_name} #{job.child.run_number}
        </a>
      )}
    </li>
  );
}

const MIN_FOLDED = 4;

/** The variants of a matrix: those that need attention are shown, the others when asked for. */
function FoldedGroup({ group }: { group: JobGroup }): JSX.Element {
  const [open, setOpen] = useState(false);
  const notable = group.jobs.filter((job) => ["failed", "tolerated", "approval"].includes(jobTone(job)));
  const counts = [...countTones(group.jobs)]
    .map(([tone, count]) => `${count} ${toneText(tone).toLowerCase()}`)
    .join(", ");
  return (
    <>
      <li class="job-row">
        <button
          type="button"
          class={open ? "fold open" : "fold"}
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <StatusIcon tone={group.tone} label />
          <strong class="cut">{group.name}</strong>
          <span class="dim cut">
            {group.jobs.length} variants: {counts}
          </span>
          <Icon name="chevron" />
        </button>
      </li>
      {(open ? group.jobs : notable.slice(0, MIN_FOLDED)).map((job) => (
        <JobRow key={job.id} job={job} />
      ))}
    </>
  );
}

function Stage({ name, jobs }: { name: string; jobs: readonly JobView[] }): JSX.Element {
  return (
    <section class="stage" aria-label={`Stage ${name}`}>
      <h3>{name}</h3>
      <ul class="card rows">
        {groupJobs(jobs).map((group) =>
          group.jobs.length >= MIN_FOLDED ? (
            <FoldedGroup key={group.id} group={group} />
          ) : (
            group.jobs.map((job) => <JobRow key={job.id} job={job} />)
          ),
        )}
      </ul>
    </section>
  );
}

/** The jobs: failed ones first, then all by stage. */
export function JobList({ view }: { view: ExecutionView }): JSX.Element {
  const failed = view.jobs.filter((job) => jobTone(job) === "failed");
  return (
    <div class="job-list">
      {failed.length > 0 && (
        <section class="stage" aria-label="Failed jobs">
          <h3>Failed</h3>
          <ul class="card rows failed-rows">
            {failed.slice(0, 20).map((job) => (
              <JobRow key={job.id} job={job} />
            ))}
          </ul>
          {failed.length > 20 && <p class="dim">and {failed.length - 20} more below</p>}
        </section>
      )}
      {view.stages.map((stage) => (
        <Stage key={stage} name={stage} jobs={view.jobs.filter((job) => job.stage === stage)} />
      ))}
    </div>
  );
}
