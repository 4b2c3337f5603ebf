import type { JSX } from "preact";
import type { Overview, RecentExecution } from "../../api/types";
import { Icon } from "../../components/Icon";
import { StatusIcon } from "../../components/StatusIcon";
import { Age } from "../../components/Time";
import { formatDuration } from "../../domain/duration";
import { shortRepo } from "../../domain/names";
import { executionTone, toneText } from "../../domain/status";
import { to } from "../../router/router";

function lasted(one: RecentExecution): number {
  return one.start_time == null ? 0 : Date.parse(one.end_time) - Date.parse(one.start_time);
}

/** The last executions as bars, the oldest first: the height is the duration. */
function HistoryBars({ recent }: { recent: readonly RecentExecution[] }): JSX.Element {
  const longest = Math.max(1, ...recent.map(lasted));
  return (
    <ol class="history-bars" aria-label="Last executions, oldest first">
      {[...recent].reverse().map((one) => {
        const tone = executionTone(one.status);
        const text = `${one.pipeline_name} #${one.run_number}: ${toneText(tone)}, ${formatDuration(lasted(one))}`;
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

const MAX_PIPELINES = 6;

/** A repository with the state of its default branch. */
export function RepositoryCard({
  repository,
}: {
  repository: Overview["repositories"][number];
}): JSX.Element {
  const { repo, default_branch: branch, of_default_branch: ofBranch, recent } = repository;
  const shown = (ofBranch.length > 0 ? ofBranch : recent).slice(0, MAX_PIPELINES);
  return (
    <li class="card repository-card">
      <div class="repository-head">
        <h3>
          {repository.status != null && <StatusIcon tone={executionTone(repository.status)} label />}{" "}
          <a href={to.executions({ repo })} title={repo}>
            {shortRepo(repo)}
          </a>
        </h3>
        {branch != null && (
          <a class="dim" href={to.executions({ repo, branch })}>
            <Icon name="branch" /> {branch}
          </a>
        )}
      </div>
      <ul class="repository-pipelines">
        {shown.map((one) => (
          <li key={one.id}>
            <StatusIcon tone={executionTone(one.status)} label />
            <a href={to.execution(one.id)}>{one.pipeline_name}</a>
            <span class="dim cut">{one.title ?? ""}</span>
            <span class="dim">
              <Age time={one.end_time} />
            </span>
          </li>
        ))}
      </ul>
      <div class="repository-foot">
        <HistoryBars recent={recent} />
        <a class="dim" href={to.insights({ repo })}>
          Insights
        </a>
      </div>
    </li>
  );
}
