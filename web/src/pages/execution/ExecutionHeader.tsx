import type { JSX } from "preact";
import type { ExecutionView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { Icon } from "../../components/Icon";
import { StatusBadge } from "../../components/StatusIcon";
import { Age, Duration } from "../../components/Time";
import { formatDollars } from "../../domain/insight";
import { authorName, shortCommit, shortRepo, triggerText } from "../../domain/names";
import { executionNote, executionTone } from "../../domain/status";
import { to } from "../../router/router";
import { approveExecution, cancelExecution, executionActions, pinExecution, retryExecution } from "./actions";

function Actions({ view, refresh }: { view: ExecutionView; refresh: () => void }): JSX.Element {
  const can = executionActions(view);
  const then = (change: Promise<void>): Promise<void> => change.then(refresh);
  return (
    <div class="actions">
      {can.approve && (
        <ActionButton kind="primary" run={() => then(approveExecution(view))}>
          <Icon name="check" />
          Approve
        </ActionButton>
      )}
      {can.retryUnsuccessful && (
        <ActionButton run={() => retryExecution(view, {})}>
          <Icon name="retry" />
          Retry unsuccessful jobs
        </ActionButton>
      )}
      {can.retryAll && (
        <ActionButton run={() => retryExecution(view, { all: true })}>
          <Icon name="retry" />
          Retry all
        </ActionButton>
      )}
      {can.pin && (
        <ActionButton
          title="Rules of retention do not remove what is kept"
          run={() => then(pinExecution(view, true))}
        >
          Keep for ever
        </ActionButton>
      )}
      {can.unpin && (
        <ActionButton confirm="Really?" run={() => then(pinExecution(view, false))}>
          Do not keep for ever
        </ActionButton>
      )}
      {can.cancel && (
        <ActionButton confirm="Really cancel?" run={() => then(cancelExecution(view))}>
          <Icon name="stop" />
          Cancel
        </ActionButton>
      )}
    </div>
  );
}

function Facts({ view }: { view: ExecutionView }): JSX.Element {
  const { execution } = view;
  const author = execution.commit_details?.author;
  return (
    <ul class="facts">
      <li>
        <a href={to.executions({ repo: execution.repo })} title={execution.repo}>
          {shortRepo(execution.repo)}
        </a>
      </li>
      {execution.branch != null && (
        <li>
          <Icon name="branch" />
          <a href={to.executions({ repo: execution.repo, branch: execution.branch })}>{execution.branch}</a>
        </li>
      )}
      {execution.commit != null && (
        <li class="mono" title={execution.commit}>
          <Icon name="commit" />
          {shortCommit(execution.commit)}
          {execution.uncommitted === true && " + changes"}
        </li>
      )}
      {author != null && (
        <li>
          <Icon name="person" />
          {authorName(author)}
        </li>
      )}
      <li>
        <Icon name="event" />
        {triggerText(execution.trigger)}
        {execution.requested_by != null && ` by ${execution.requested_by}`}
      </li>
      <li>
        <Icon name="clock" />
        {execution.start_time == null ? (
          "not started"
        ) : (
          <Duration start={execution.start_time} end={execution.end_time} />
        )}
      </li>
      {view.cost_usd != null && (
        <li class="number" title="What the workers’ time for its ended attempts cost">
          {formatDollars(view.cost_usd)}
        </li>
      )}
      <li>
        <Age time={execution.created_at} />
      </li>
      {view.pin != null && (
        <li title={view.pin.note ?? undefined}>
          kept for ever by {view.pin.by}
          {view.pin.note != null && `: ${view.pin.note}`}
        </li>
      )}
    </ul>
  );
}

function Relations({ view }: { view: ExecutionView }): JSX.Element | null {
  const { execution } = view;
  const links: readonly (readonly [string, string, string | null | undefined])[] = [
    ["Retry of", "the execution before", execution.retry_of],
    ["Started by", execution.parent?.job_name ?? "", execution.parent?.execution_id],
    ["Superseded by", "a newer execution", execution.superseded_by],
    ["Waits for", "an older execution", view.waits_for],
  ];
  const inputs = Object.entries(execution.inputs ?? {});
  const shown = links.filter(([, , id]) => id != null);
  if (shown.length === 0 && inputs.length === 0) return null;
  return (
    <ul class="facts dim">
      {shown.map(([relation, text, id]) => (
        <li key={relation}>
          {relation} <a href={to.execution(id ?? "")}>{text}</a>
        </li>
      ))}
      {inputs.map(([name, value]) => (
        <li key={name} class="mono">
          {name}={value}
        </li>
      ))}
    </ul>
  );
}

/** What an execution is of, and what can be done with it. */
export function ExecutionHeader({
  view,
  refresh,
}: {
  view: ExecutionView;
  refresh: () => void;
}): JSX.Element {
  const { execution } = view;
  const message = execution.commit_details?.message ?? "";
  const note = executionNote(view);
  return (
    <header class="execution-header">
      <div class="page-head">
        <h1>
          <a href={to.executions({ repo: execution.repo, pipeline: execution.pipeline_name })}>
            {execution.pipeline_name}
          </a>{" "}
          <span class="number dim">#{execution.run_number}</span>
        </h1>
        <StatusBadge tone={executionTone(execution.status)} />
        <Actions view={view} refresh={refresh} />
      </div>
      {message !== "" && <p class="commit-message">{message}</p>}
      <Facts view={view} />
      <Relations view={view} />
      {note !== null && <p class="note warning">{note}</p>}
    </header>
  );
}
