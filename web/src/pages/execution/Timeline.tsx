import type { JSX } from "preact";
import { now } from "../../components/clock";
import type { ExecutionView, JobView } from "../../api/types";
import { StatusIcon } from "../../components/StatusIcon";
import { formatDuration } from "../../domain/duration";
import { criticalPath } from "../../domain/graph";
import { byAttention, jobExplanation, jobTone, notQueuedReason } from "../../domain/status";
import { axisMarks, type SpanKind, waterfall } from "../../domain/waterfall";
import { to } from "../../router/router";

const KIND_TEXT: Record<SpanKind, string> = {
  waiting: "waited",
  preparing: "prepared",
  running: "ran",
  "failed-attempt": "earlier attempt",
};
const MAX_NOT_QUEUED = 50;

/** The jobs that wait for something else than a worker, with what it is. */
function NotQueued({ view, jobs }: { view: ExecutionView; jobs: readonly JobView[] }): JSX.Element | null {
  if (jobs.length === 0) return null;
  return (
    <section class="stage" aria-label="Not queued yet">
      <h3>Not queued yet</h3>
      <ul class="card rows">
        {byAttention(jobs)
          .slice(0, MAX_NOT_QUEUED)
          .map((job) => (
            <li key={job.id} class="job-row">
              <a href={to.job(view.execution.id, job.job_name)}>
                <StatusIcon tone={jobTone(job)} label />
                <strong class="cut">{job.job_name}</strong>
                <span class="cut dim">{notQueuedReason(job, view)}</span>
              </a>
            </li>
          ))}
      </ul>
      {jobs.length > MAX_NOT_QUEUED && <p class="dim">and {jobs.length - MAX_NOT_QUEUED} more</p>}
    </section>
  );
}

/** When each job waited, was prepared and ran, and why jobs wait. */
export function Timeline({ view }: { view: ExecutionView }): JSX.Element {
  const time = view.execution.end_time == null ? now.value : Date.parse(view.execution.end_time);
  const chart = waterfall(view.jobs, time);
  const critical = criticalPath(view, time);
  const waiting = <NotQueued view={view} jobs={chart.waiting} />;
  if (chart.rows.length === 0)
    return (
      <>
        <p class="empty">No job has been queued yet.</p>
        {waiting}
      </>
    );
  const length = Math.max(1, chart.end - chart.start);
  const percent = (from: number): string => `${(100 * from) / length}%`;
  return (
    <>
      <section class="card timeline" aria-label="Timeline">
        <div class="card-head">
          <h2>Timeline</h2>
          <span class="dim legend">
            {(Object.keys(KIND_TEXT) as SpanKind[]).map((kind) => (
              <span key={kind}>
                <span class={`span-mark ${kind}`} aria-hidden="true" /> {KIND_TEXT[kind]}
              </span>
            ))}
            <span>
              <span class="critical-mark" aria-hidden="true" /> critical path
            </span>
          </span>
        </div>
        <div class="timeline-axis" aria-hidden="true">
          {axisMarks(length, 8).map((mark) => (
            <span key={mark} class="number" style={{ left: percent(mark) }}>
              {formatDuration(mark)}
            </span>
          ))}
        </div>
        <ul>
          {chart.rows.map(({ job, spans }) => {
            const text = spans
              .map((span) => `${KIND_TEXT[span.kind]} ${formatDuration(span.end - span.start)}`)
              .join(", ");
            return (
              <li key={job.id} class={critical.has(job.id) ? "critical" : ""}>
                <a href={to.job(view.execution.id, job.job_name)} title={`${text}. ${jobExplanation(job)}`}>
                  <span class="timeline-name">
                    <StatusIcon tone={jobTone(job)} label />
                    <span class="cut">{job.job_name}</span>
                  </span>
                  <span class="timeline-track">
                    {spans.map((span) => (
                      <span
                        key={`${span.kind}${span.start}`}
                        class={`span ${span.kind} ${span.kind === "running" ? jobTone(job) : ""}`}
                        style={{
                          left: percent(span.start - chart.start),
                          width: percent(span.end - span.start),
                        }}
                      />
                    ))}
                  </span>
                  <span class="number dim">
                    {formatDuration(spans.reduce((sum, span) => sum + span.end - span.start, 0))}
                  </span>
                  {job.status === "QUEUED" ? (
                    <span class="timeline-reason">{jobExplanation(job)}</span>
                  ) : (
                    <span class="hidden-text">{text}</span>
                  )}
                </a>
              </li>
            );
          })}
        </ul>
      </section>
      {waiting}
    </>
  );
}
