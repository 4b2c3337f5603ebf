import type { JSX } from "preact";
import { now } from "../../components/clock";
import type { ExecutionView } from "../../api/types";
import { StatusIcon } from "../../components/StatusIcon";
import { formatDuration } from "../../domain/duration";
import { criticalPath } from "../../domain/graph";
import { jobExplanation, jobTone } from "../../domain/status";
import { axisMarks, type SpanKind, waterfall } from "../../domain/waterfall";
import { to } from "../../router/router";

const KIND_TEXT: Record<SpanKind, string> = {
  waiting: "waited",
  preparing: "prepared",
  running: "ran",
  "failed-attempt": "earlier attempt",
};

/** When each job waited, was prepared and ran. */
export function Timeline({ view }: { view: ExecutionView }): JSX.Element {
  const time = view.execution.end_time == null ? now.value : Date.parse(view.execution.end_time);
  const chart = waterfall(view.jobs, time);
  const critical = criticalPath(view, time);
  if (chart.rows.length === 0) return <p class="empty">No job has been queued yet.</p>;
  const length = Math.max(1, chart.end - chart.start);
  const percent = (from: number): string => `${(100 * from) / length}%`;
  return (
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
                <span class="hidden-text">{text}</span>
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}
