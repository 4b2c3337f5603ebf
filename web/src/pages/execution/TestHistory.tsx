// How failed tests did in the executions before.
import type { JSX } from "preact";
import { get } from "../../api/client";
import type { ExecutionView } from "../../api/types";
import { StatusIcon } from "../../components/StatusIcon";
import { historySummary, type PastTests, testHistory } from "../../domain/test_history";
import { hasEnded } from "../../domain/status";
import { to } from "../../router/router";

/** Number of earlier executions that are read. */
const MAX_PAST = 10;

/** The tests of the executions of the same pipeline and branch before this one, the newest first. */
export async function pastTests(view: ExecutionView): Promise<PastTests[]> {
  const { id, repo, pipeline_name: pipeline, branch } = view.execution;
  const query = { repo, pipeline, ...(branch == null ? {} : { branch }), cursor: id, limit: MAX_PAST };
  const page = await get("/api/pipeline/executions", { query });
  const ended = page.executions.filter((one) => hasEnded(one.status));
  return Promise.all(
    ended.map(async (execution) => ({
      execution,
      tests: await get("/api/pipeline/tests/{executionId}", { path: { executionId: execution.id } }),
    })),
  );
}

/** What a test did in earlier executions, the oldest first. */
export function TestHistory({
  past,
  job,
  suite,
  name,
}: {
  past: readonly PastTests[];
  job: string;
  suite: string;
  name: string;
}): JSX.Element {
  const history = testHistory(past, job, suite, name);
  return (
    <div class="test-history">
      <ol aria-label={`Earlier executions of ${name}, oldest first`}>
        {[...history].reverse().map(({ execution, tone, text }) => {
          const title = `#${execution.run_number}: ${text}`;
          return (
            <li key={execution.id}>
              <a href={to.execution(execution.id, "tests")} title={title} aria-label={title}>
                <StatusIcon tone={tone} />
              </a>
            </li>
          );
        })}
      </ol>
      <span class="dim">{historySummary(history)}</span>
    </div>
  );
}
