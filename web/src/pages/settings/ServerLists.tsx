// Lists of the whole server.
import type { JSX } from "preact";
import { get, post } from "../../api/client";
import { mayRun } from "../../api/session";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { shortRepo } from "../../domain/names";
import { to } from "../../router/router";
import { ListFrame } from "./ListFrame";
import { usePages } from "./usePages";

const cursorQuery = (cursor: string | null): { cursor?: string } => (cursor === null ? {} : { cursor });

/** What was changed; an execution is a link. */
function Target({ action, target }: { action: string; target: string }): JSX.Element {
  const isExecution = action.startsWith("execution.") && /^[0-9a-f-]{36}$/.test(target);
  return (
    <span class="mono">{isExecution ? <a href={to.execution(target)}>…{target.slice(-8)}</a> : target}</span>
  );
}

export function AuditList(): JSX.Element {
  const pages = usePages("audit", async (cursor) => {
    const page = await get("/api/audit", { query: { limit: 100, ...cursorQuery(cursor) } });
    return { rows: page.entries, next: page.next_cursor ?? null };
  });
  return (
    <ListFrame
      label="Audit log"
      pages={pages}
      rowKey={(entry) => `${entry.at} ${entry.action} ${entry.target}`}
      empty="Nobody has changed anything yet."
      columns={[
        { name: "When", cell: (entry) => <Age time={entry.at} /> },
        { name: "Who", cell: (entry) => <strong>{entry.who}</strong> },
        { name: "Action", cell: (entry) => entry.action },
        { name: "Target", cell: (entry) => <Target action={entry.action} target={entry.target} /> },
        { name: "Repository", cell: (entry) => (entry.repo == null ? "" : shortRepo(entry.repo)) },
        { name: "Outcome", cell: (entry) => entry.outcome },
        { name: "From", cell: (entry) => <span class="mono">{entry.from ?? ""}</span> },
      ]}
    />
  );
}

export function DeadLetterList(): JSX.Element {
  const pages = usePages("dead-letters", async (cursor) => {
    const page = await get("/api/job/dead-letters", { query: { limit: 100, ...cursorQuery(cursor) } });
    return { rows: page.dead_letters, next: page.next_cursor ?? null };
  });
  return (
    <ListFrame
      label="Dead letters"
      pages={pages}
      rowKey={(letter) => letter.job.id}
      empty="There are no dead letters."
      columns={[
        {
          name: "Job",
          cell: (letter) => (
            <a href={to.job(letter.execution.id, letter.job.job_name)}>{letter.job.job_name}</a>
          ),
        },
        {
          name: "Execution",
          cell: (letter) => (
            <a href={to.execution(letter.execution.id)}>
              {letter.execution.pipeline_name} #{letter.execution.run_number}
            </a>
          ),
        },
        { name: "Repository", cell: (letter) => shortRepo(letter.execution.repo) },
        { name: "Reason", cell: (letter) => letter.job.failure_reason?.message ?? "" },
        {
          name: "Change",
          cell: (letter) =>
            mayRun.value && (
              <ActionButton
                kind="small"
                run={async () => {
                  await post("/api/job/dismiss/{jobId}", { path: { jobId: letter.job.id } });
                  pages.reload();
                }}
              >
                Dismiss
              </ActionButton>
            ),
        },
      ]}
    />
  );
}
