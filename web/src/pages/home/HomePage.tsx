import type { JSX } from "preact";
import { get } from "../../api/client";
import { ErrorNote } from "../../components/ErrorNote";
import { StatusIcon } from "../../components/StatusIcon";
import { useLive } from "../../components/useLive";
import { executionTone } from "../../domain/status";
import { to } from "../../router/router";

/** What runs and what ran last. */
export function HomePage(): JSX.Element {
  const { value, error } = useLive("home", (signal) =>
    get("/api/pipeline/executions", { query: { limit: 50 }, signal }),
  );
  return (
    <main id="main" tabIndex={-1}>
      <h1>Home</h1>
      {error !== null && <ErrorNote error={error} />}
      <ul>
        {value?.executions.map((execution) => (
          <li key={execution.id}>
            <StatusIcon tone={executionTone(execution.status)} label />{" "}
            <a href={to.execution(execution.id)}>
              {execution.pipeline_name} #{execution.run_number}
            </a>
          </li>
        ))}
      </ul>
    </main>
  );
}
