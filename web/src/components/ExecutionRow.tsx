import type { JSX } from "preact";
import type { ExecutionSummary } from "../api/types";
import { authorName, shortCommit, shortRepo, triggerText } from "../domain/names";
import { executionTone } from "../domain/status";
import { to } from "../router/router";
import { Icon } from "./Icon";
import { StatusIcon } from "./StatusIcon";
import { Age, Duration } from "./Time";

/** An execution in a list. */
export function ExecutionRow({ execution }: { execution: ExecutionSummary }): JSX.Element {
  const message = execution.commit_details?.message ?? "";
  const author = execution.commit_details?.author ?? execution.requested_by;
  return (
    <a class="execution-row" href={to.execution(execution.id)}>
      <StatusIcon tone={executionTone(execution.status)} label />
      <span class="execution-row-title">
        <strong>{execution.pipeline_name}</strong> <span class="number dim">#{execution.run_number}</span>
        {message !== "" && <span class="soft"> {message}</span>}
      </span>
      <span class="execution-row-facts dim">
        <span>{shortRepo(execution.repo)}</span>
        {execution.branch != null && (
          <span>
            <Icon name="branch" />
            {execution.branch}
          </span>
        )}
        {execution.commit != null && (
          <span class="mono">
            <Icon name="commit" />
            {shortCommit(execution.commit)}
          </span>
        )}
        {author != null && (
          <span>
            <Icon name="person" />
            {authorName(author)}
          </span>
        )}
        <span>
          <Icon name="event" />
          {triggerText(execution.trigger)}
        </span>
      </span>
      <span class="execution-row-times dim">
        {execution.start_time != null && <Duration start={execution.start_time} end={execution.end_time} />}
        <Age time={execution.created_at} />
      </span>
    </a>
  );
}
