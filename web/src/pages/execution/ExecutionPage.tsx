import type { JSX } from "preact";
import { anonymous } from "../../api/session";
import type { ExecutionView } from "../../api/types";
import { ErrorNote } from "../../components/ErrorNote";
import { NotShown } from "../../components/NotShown";
import { StatusIcon } from "../../components/StatusIcon";
import { useExecution } from "../../components/useExecution";
import { countTones, executionTone, toneText } from "../../domain/status";
import { address, to } from "../../router/router";
import { tabState, useTitle } from "../../shell/title";
import { Artifacts } from "./Artifacts";
import { ExecutionHeader } from "./ExecutionHeader";
import { JobGraph } from "./JobGraph";
import { JobList } from "./JobList";
import { PipelineSource } from "./PipelineSource";
import { Summary } from "./Summary";
import { Tests } from "./Tests";
import { Timeline } from "./Timeline";

/** Those that anyone may see of a public repository. */
const PUBLIC_VIEWS: readonly string[] = ["", "timeline", "summary", "tests"];

const VIEWS = [
  ["", "Jobs"],
  ["timeline", "Timeline"],
  ["summary", "Summary"],
  ["tests", "Tests"],
  ["artifacts", "Artifacts"],
  ["pipeline", "Pipeline file"],
] as const;

function Counts({ view }: { view: ExecutionView }): JSX.Element {
  return (
    <ul class="tone-counts" aria-label="Jobs by status">
      {[...countTones(view.jobs)].map(([tone, count]) => (
        <li key={tone} title={toneText(tone)}>
          <StatusIcon tone={tone} />
          <span class="number">{count}</span> <span class="dim">{toneText(tone).toLowerCase()}</span>
        </li>
      ))}
    </ul>
  );
}

function Shown({ view, name }: { view: ExecutionView; name: string }): JSX.Element {
  switch (name) {
    case "timeline":
      return <Timeline view={view} />;
    case "summary":
      return <Summary view={view} />;
    case "tests":
      return <Tests view={view} />;
    case "artifacts":
      return <Artifacts view={view} />;
    case "pipeline":
      return <PipelineSource id={view.execution.id} />;
    default:
      return (
        <>
          <JobGraph view={view} />
          <JobList view={view} />
          {!anonymous.value && (
            <p class="soft">
              Is a job missing? The <a href={to.execution(view.execution.id, "pipeline")}>pipeline file</a>{" "}
              has the jobs that rules left out.
            </p>
          )}
        </>
      );
  }
}

/** One execution: its jobs as graph and list, the timeline, summaries, tests, artifacts and the pipeline file. */
export function ExecutionPage({ id }: { id: string }): JSX.Element {
  const { value: view, error, refresh } = useExecution(id);
  const execution = view?.execution;
  const tone = execution === undefined ? "pending" : executionTone(execution.status);
  const title =
    execution === undefined
      ? "Execution"
      : `${execution.pipeline_name} #${execution.run_number} ${toneText(tone).toLowerCase()}`;
  useTitle(title, execution === undefined ? "idle" : tabState(tone));
  const shown = address.value.query.get("view") ?? "";
  return (
    <main id="main" tabIndex={-1}>
      {error !== null && view !== null && <ErrorNote error={error} retry={refresh} />}
      {error !== null && view === null && <NotShown what="execution" error={error} retry={refresh} />}
      {view === null && error === null && <p class="dim">Loading…</p>}
      {view !== null && (
        <>
          <ExecutionHeader view={view} refresh={refresh} />
          <div class="tabs">
            <nav aria-label="Views of the execution">
              {VIEWS.filter(([name]) => !anonymous.value || PUBLIC_VIEWS.includes(name)).map(
                ([name, text]) => (
                  <a
                    key={name}
                    href={to.execution(id, name)}
                    aria-current={shown === name ? "page" : undefined}
                  >
                    {text}
                  </a>
                ),
              )}
            </nav>
            <Counts view={view} />
          </div>
          <Shown view={view} name={shown} />
        </>
      )}
    </main>
  );
}
