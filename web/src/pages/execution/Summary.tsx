import type { JSX } from "preact";
import { get, send } from "../../api/client";
import type { ExecutionView, JobAnnotation, SummaryView } from "../../api/types";
import { ErrorNote } from "../../components/ErrorNote";
import { useLive } from "../../components/useLive";
import "../../design/summary.css";
import { countText, groupByFile, linesOf, sourceAddress } from "../../domain/annotations";
import { hasEnded } from "../../domain/status";
import { Markdown } from "../../markdown/Markdown";
import { to } from "../../router/router";

function AnnotationItem({ of, view }: { of: JobAnnotation; view: ExecutionView }): JSX.Element {
  const { id, repo, commit } = view.execution;
  const lines = linesOf(of);
  const address = sourceAddress(repo, commit, of);
  const title = of.title ?? "";
  return (
    <li>
      <p>
        <span class={`annotation-level ${of.level}`}>{of.level}</span>{" "}
        {lines !== "" && (
          <span class="mono number">
            {address === null ? (
              lines
            ) : (
              <a href={address} target="_blank" rel="noopener noreferrer">
                {lines}
              </a>
            )}{" "}
          </span>
        )}
        {title !== "" && <strong>{title}</strong>}{" "}
        <span class="dim">
          <a href={to.job(id, of.job_name)}>{of.job_name}</a>
          {(of.other_jobs ?? 0) > 0 && ` and ${of.other_jobs ?? 0} more`}
        </span>
      </p>
      {of.message !== "" && of.message !== title && <p class="annotation-message">{of.message}</p>}
    </li>
  );
}

function JobSummary({ of, executionId }: { of: SummaryView; executionId: string }): JSX.Element {
  const { value, error } = useLive(
    `${of.job_id} ${of.size}`,
    async (signal) => {
      const reply = await send(`/api/job/summary/${of.job_id}`, { signal });
      return { text: await reply.text() };
    },
    () => true,
  );
  return (
    <section class="card padded" aria-label={`Summary of ${of.job_name}`}>
      <h2>
        <a href={to.job(executionId, of.job_name)}>{of.job_name}</a>
      </h2>
      {error !== null && <ErrorNote error={error} />}
      {value === null && error === null && <p class="dim">Loading…</p>}
      {value !== null && <Markdown text={value.text} />}
    </section>
  );
}

/** What jobs say about themselves: their annotations by file, and their summaries. */
export function Summary({ view }: { view: ExecutionView }): JSX.Element {
  const { id, status } = view.execution;
  const path = "/api/pipeline/summary/{executionId}" as const;
  const { value, error } = useLive(
    `${id} ${status}`,
    (signal) => get(path, { path: { executionId: id }, signal }),
    () => hasEnded(status),
  );
  if (error !== null) return <ErrorNote error={error} />;
  if (value === null) return <p class="dim">Loading…</p>;
  const hidden = value.summaries.filter((one) => !one.shown);
  if (value.summaries.length + value.annotations.length === 0) {
    return (
      <div class="empty">
        <p>No job has a summary or annotations.</p>
        <p class="soft">
          A job appends Markdown to the file <code>$TIDEMILL_SUMMARY</code>, and prints{" "}
          <code>::error file=a.rs,line=3::message</code>.
        </p>
      </div>
    );
  }
  return (
    <>
      {value.annotations.length > 0 && (
        <section class="card padded annotations" aria-label="Annotations">
          <h2>
            Annotations <span class="dim">{countText(value.counts)}</span>
          </h2>
          {groupByFile(value.annotations).map((file) => (
            <div key={file.path ?? ""}>
              {file.path !== null && <h3 class="mono">{file.path}</h3>}
              <ul>
                {file.annotations.map((one) => (
                  <AnnotationItem
                    key={`${one.level} ${linesOf(one)} ${one.title ?? ""} ${one.message}`}
                    of={one}
                    view={view}
                  />
                ))}
              </ul>
            </div>
          ))}
        </section>
      )}
      {value.summaries
        .filter((one) => one.shown)
        .map((one) => (
          <JobSummary key={one.job_id} of={one} executionId={id} />
        ))}
      {hidden.length > 0 && (
        <p class="dim">
          Not shown, as the summaries have more than 1 MiB: {hidden.map((one) => one.job_name).join(", ")}
        </p>
      )}
    </>
  );
}
