import type { JSX } from "preact";
import { get } from "../../api/client";
import type { ExecutionSummary } from "../../api/types";
import { ErrorNote } from "../../components/ErrorNote";
import { ExecutionRow, firstLine } from "../../components/ExecutionRow";
import { Icon } from "../../components/Icon";
import { StatusIcon } from "../../components/StatusIcon";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { formatDuration } from "../../domain/duration";
import { mergeExecutions, type RepositoryState, repositoryStates } from "../../domain/executions";
import { shortRepo } from "../../domain/names";
import { executionTone, hasEnded, toneText } from "../../domain/status";
import { to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { useApprovals } from "./useApprovals";

function lasted(one: ExecutionSummary): number {
  return one.start_time == null || one.end_time == null
    ? 0
    : Date.parse(one.end_time) - Date.parse(one.start_time);
}

/** The last executions as bars: the height is the duration. */
function HistoryBars({ history }: { history: readonly ExecutionSummary[] }): JSX.Element {
  const longest = Math.max(1, ...history.map(lasted));
  return (
    <ol class="history-bars" aria-label="Last executions, oldest first">
      {history.map((one) => {
        const tone = executionTone(one.status);
        const text = `${one.pipeline_name} #${one.run_number}: ${toneText(tone)}${hasEnded(one.status) ? `, ${formatDuration(lasted(one))}` : ""}`;
        return (
          <li key={one.id}>
            <a href={to.execution(one.id)} title={text} aria-label={text}>
              <span class={tone} style={{ height: `${25 + (75 * lasted(one)) / longest}%` }} />
            </a>
          </li>
        );
      })}
    </ol>
  );
}

function RepositoryCard({ state }: { state: RepositoryState }): JSX.Element {
  return (
    <li class="card repository-card">
      <div class="repository-head">
        <h3>
          <a href={to.executions({ repo: state.repo })}>{shortRepo(state.repo)}</a>
        </h3>
        {state.branch !== null && (
          <a class="dim" href={to.executions({ repo: state.repo, branch: state.branch })}>
            <Icon name="branch" />
            {state.branch}
          </a>
        )}
      </div>
      <ul class="repository-pipelines">
        {state.current.map((one) => (
          <li key={one.pipeline_name}>
            <StatusIcon tone={executionTone(one.status)} label />
            <a href={to.execution(one.id)}>{one.pipeline_name}</a>
            <span class="dim cut">{firstLine(one.commit_details?.message)}</span>
            <span class="dim">
              <Age time={one.created_at} />
            </span>
          </li>
        ))}
      </ul>
      <HistoryBars history={state.history} />
    </li>
  );
}

async function loadAll(
  signal: AbortSignal,
): Promise<{ executions: ExecutionSummary[]; defaults: Map<string, string> }> {
  const read = (query: { status?: "RUNNING" | "PENDING"; limit: number }) =>
    get("/api/pipeline/executions", { query, signal }).then((page) => page.executions);
  const lists = await Promise.all([
    read({ limit: 200 }),
    read({ status: "RUNNING", limit: 50 }),
    read({ status: "PENDING", limit: 50 }),
  ]);
  // Only administrators may list repositories; the default branch is guessed for others.
  const registered = await get("/api/repository", { signal }).catch(() => null);
  const defaults = new Map<string, string>();
  for (const one of registered?.repositories ?? []) {
    if (one.default_branch != null) defaults.set(one.url, one.default_branch);
  }
  return { executions: lists.reduce(mergeExecutions, []), defaults };
}

/** The repositories with their state, what runs, and what waits for an approval. */
export function HomePage(): JSX.Element {
  useTitle("Home");
  const { value, error, refresh } = useLive(
    "home",
    async (signal, previous: Awaited<ReturnType<typeof loadAll>> | null) => {
      const next = await loadAll(signal);
      return previous !== null && JSON.stringify(previous.executions) === JSON.stringify(next.executions)
        ? null
        : next;
    },
  );
  const executions = value?.executions ?? [];
  const running = executions.filter((one) => !hasEnded(one.status));
  const approvals = useApprovals(running);
  const repositories = repositoryStates(executions, value?.defaults);

  return (
    <main id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>Home</h1>
        <a class="button" href={to.start()}>
          <Icon name="play" />
          Start an execution
        </a>
      </div>
      {error !== null && <ErrorNote error={error} retry={refresh} />}
      {approvals.length > 0 && (
        <section aria-labelledby="approvals">
          <h2 id="approvals">Waiting for approval</h2>
          <ul class="card rows">
            {approvals.map((one) => (
              <li key={one.href}>
                <a class="approval-row" href={one.href}>
                  <StatusIcon tone="approval" />
                  <strong>{one.name}</strong>
                  <span class="dim">{one.detail}</span>
                </a>
              </li>
            ))}
          </ul>
        </section>
      )}
      {running.length > 0 && (
        <section aria-labelledby="running">
          <h2 id="running">Running and waiting</h2>
          <ul class="card rows">
            {running.slice(0, 10).map((one) => (
              <li key={one.id}>
                <ExecutionRow execution={one} />
              </li>
            ))}
          </ul>
          {running.length > 10 && <a href={to.executions({ status: "RUNNING" })}>All {running.length}</a>}
        </section>
      )}
      <section aria-labelledby="repositories">
        <h2 id="repositories">Repositories</h2>
        {value !== null && repositories.length === 0 && (
          <div class="empty">
            <p>Nothing has run yet.</p>
            <p class="soft">
              Start an execution by <a href={to.start()}>hand</a>, with <code>tidemill run --server</code>, or
              register a repository with <code>tidemill repo add</code>.
            </p>
          </div>
        )}
        <ul class="repository-grid">
          {repositories.map((state) => (
            <RepositoryCard key={state.repo} state={state} />
          ))}
        </ul>
      </section>
    </main>
  );
}
