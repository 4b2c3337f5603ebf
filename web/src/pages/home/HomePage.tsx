import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { get } from "../../api/client";
import { ListEvents } from "../../api/list_events";
import { mayRun } from "../../api/session";
import type { Overview } from "../../api/types";
import { ErrorNote } from "../../components/ErrorNote";
import { ExecutionRow } from "../../components/ExecutionRow";
import { Icon } from "../../components/Icon";
import { StatusIcon } from "../../components/StatusIcon";
import { useLive } from "../../components/useLive";
import { type ApprovalRow, approvalRows } from "../../domain/awaited";
import { to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { RepositoryCard } from "./RepositoryCard";

function ApprovalList({
  id,
  title,
  rows,
}: {
  id: string;
  title: string;
  rows: readonly ApprovalRow[];
}): JSX.Element | null {
  if (rows.length === 0) return null;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <ul class="card rows">
        {rows.map((row) => (
          <li key={row.href}>
            <a class="approval-row" href={row.href}>
              <StatusIcon tone="approval" />
              <strong>{row.name}</strong>
              {row.progress !== null && <span>{row.progress}</span>}
              <span class="dim cut">{row.detail}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What waits for an approval: first what the viewer may approve. */
function Approvals({ approvals }: { approvals: Overview["approvals"] }): JSX.Element {
  const rows = approvalRows(approvals);
  return (
    <>
      <ApprovalList id="approvals" title="Waiting for approval" rows={rows.filter((row) => row.isMine)} />
      <ApprovalList
        id="approvals-of-others"
        title="Waiting for the approval of others"
        rows={rows.filter((row) => !row.isMine)}
      />
    </>
  );
}

/** Pushes whose pipeline files have mistakes, or could not be read: no other execution shows these. */
function FailedDiscoveries({
  failed,
}: {
  failed: NonNullable<Overview["failed_discoveries"]>;
}): JSX.Element | null {
  if (failed.length === 0) return null;
  return (
    <section aria-labelledby="failed-discoveries">
      <h2 id="failed-discoveries">Pipeline files with mistakes</h2>
      <ul class="card rows">
        {failed.map((one) => (
          <li key={one.id}>
            <ExecutionRow execution={one} />
          </li>
        ))}
      </ul>
    </section>
  );
}

const MAX_RUNNING = 10;

function Running({ overview }: { overview: Overview }): JSX.Element | null {
  const live = [...overview.running, ...overview.pending];
  if (live.length === 0) return null;
  return (
    <section aria-labelledby="running">
      <h2 id="running">Running and waiting</h2>
      <ul class="card rows">
        {live.slice(0, MAX_RUNNING).map((one) => (
          <li key={one.id}>
            <ExecutionRow execution={one} />
          </li>
        ))}
      </ul>
      {live.length > MAX_RUNNING && (
        <p>
          <a href={to.executions({ status: "RUNNING" })}>All that run</a> ·{" "}
          <a href={to.executions({ status: "PENDING" })}>All that wait</a>
        </p>
      )}
    </section>
  );
}

function Repositories({ repositories }: { repositories: Overview["repositories"] }): JSX.Element {
  return (
    <section aria-labelledby="repositories">
      <h2 id="repositories">Repositories</h2>
      {repositories.length === 0 && (
        <div class="empty">
          <p>No execution has ended yet.</p>
          <p class="soft">
            Start one by <a href={to.start()}>hand</a>, with <code>tidemill run --server</code>, or register a
            repository with <code>tidemill repo add</code>.
          </p>
        </div>
      )}
      <ul class="repository-grid">
        {repositories.map((one) => (
          <RepositoryCard key={one.repo} repository={one} />
        ))}
      </ul>
    </section>
  );
}

/** The repositories with their state, what runs, and what waits for an approval. */
export function HomePage(): JSX.Element {
  useTitle("Home");
  const events = useMemo(() => new ListEvents(), []);
  const { value, error, refresh } = useLive(
    "home",
    async (signal, previous: Overview | null) => {
      if (previous !== null) await events.next(signal);
      return get("/api/overview", { signal });
    },
    () => false,
    (overview) => overview.running.length + overview.pending.length > 0,
  );
  return (
    <main id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>Home</h1>
        {mayRun.value && (
          <a class="button" href={to.start()}>
            <Icon name="play" />
            Start an execution
          </a>
        )}
      </div>
      {error !== null && <ErrorNote error={error} retry={refresh} />}
      {value === null && error === null && <p class="dim">Loading…</p>}
      {value !== null && (
        <>
          <Approvals approvals={value.approvals} />
          <FailedDiscoveries failed={value.failed_discoveries ?? []} />
          <Running overview={value} />
          <Repositories repositories={value.repositories} />
        </>
      )}
    </main>
  );
}
