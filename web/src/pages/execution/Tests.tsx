import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get } from "../../api/client";
import type { ExecutionView, TestReport } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { ErrorNote } from "../../components/ErrorNote";
import { useLive } from "../../components/useLive";
import { formatDuration } from "../../domain/duration";
import { hasEnded } from "../../domain/status";
import type { PastTests } from "../../domain/test_history";
import { to } from "../../router/router";
import { pastTests, TestHistory } from "./TestHistory";

type Case = NonNullable<TestReport["failed"]>[number];

function Cases({
  title,
  cases,
  more,
  kind,
  job,
  past,
}: {
  title: string;
  cases: readonly Case[];
  more: number;
  kind: string;
  job: string;
  past: readonly PastTests[] | null;
}): JSX.Element | null {
  if (cases.length + more === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul class="test-cases">
        {cases.map((one) => (
          <li key={`${one.suite} ${one.name}`}>
            <details open={cases.length <= 3}>
              <summary>
                <span class={`test-kind ${kind}`}>{kind}</span> <span class="dim">{one.suite}</span>{" "}
                {one.name}
              </summary>
              {past !== null && <TestHistory past={past} job={job} suite={one.suite} name={one.name} />}
              {one.file != null && <p class="dim mono">{one.file}</p>}
              {one.message != null && one.message !== "" && <pre tabIndex={0}>{one.message}</pre>}
            </details>
          </li>
        ))}
      </ul>
      {more > 0 && <p class="dim">and {more} more</p>}
    </>
  );
}

function Counts({ report }: { report: TestReport }): JSX.Element {
  const { counts } = report;
  const failed = counts.failures + counts.errors;
  const facts: readonly (readonly [string, string | number])[] = [
    ["tests", counts.tests],
    ["failed", failed],
    ["flaky", counts.flaky],
    ["skipped", counts.skipped],
    ["duration", formatDuration(counts.duration_ms)],
  ];
  return (
    <dl class="numbers">
      {counts.tests > 0 &&
        facts.map(([name, value]) => (
          <div key={name} class={name === "failed" && failed > 0 ? "failed-text" : ""}>
            <dt>{name}</dt>
            <dd class="number">{value}</dd>
          </div>
        ))}
      {report.coverage != null && (
        <div>
          <dt>coverage</dt>
          <dd class="number">{report.coverage} %</dd>
        </div>
      )}
    </dl>
  );
}

function Slowest({ tests }: { tests: NonNullable<TestReport["slowest"]> }): JSX.Element | null {
  if (tests.length === 0) return null;
  return (
    <details>
      <summary>Slowest tests</summary>
      <table class="files">
        <tbody>
          {tests.map((one) => (
            <tr key={`${one.suite} ${one.name}`}>
              <td>
                <span class="dim">{one.suite}</span> {one.name}
              </td>
              <td class="number">{formatDuration(one.duration_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function hasNotPassed({ report }: { readonly report: TestReport }): boolean {
  return (report.failed ?? []).length + (report.flaky ?? []).length > 0;
}

/** Test results by job. */
export function Tests({ view }: { view: ExecutionView }): JSX.Element {
  const { id, status } = view.execution;
  const [past, setPast] = useState<readonly PastTests[] | null>(null);
  const path = "/api/pipeline/tests/{executionId}" as const;
  const { value, error } = useLive(
    `${id} ${status}`,
    (signal) => get(path, { path: { executionId: id }, signal }),
    () => hasEnded(status),
  );
  if (error !== null) return <ErrorNote error={error} />;
  if (value === null) return <p class="dim">Loading…</p>;
  if (value.jobs.length === 0) {
    return (
      <div class="empty">
        <p>No job reported tests.</p>
        <p class="soft">
          A job reports them with <code>artifacts: reports: junit</code>, and coverage with{" "}
          <code>coverage</code>.
        </p>
      </div>
    );
  }
  return (
    <>
      {past === null && value.jobs.some(hasNotPassed) && (
        <div class="actions">
          <ActionButton run={async () => setPast(await pastTests(view))}>
            Show how these tests did before
          </ActionButton>
        </div>
      )}
      {value.jobs.map((job) => (
        <section key={job.job_id} class="card padded" aria-label={`Tests of ${job.job_name}`}>
          <h2>
            <a href={to.job(id, job.job_name)}>{job.job_name}</a>
          </h2>
          <Counts report={job.report} />
          <Cases
            title="Failed"
            kind="failed"
            cases={job.report.failed ?? []}
            more={job.report.failed_left_out ?? 0}
            job={job.job_name}
            past={past}
          />
          <Cases
            title="Flaky"
            kind="flaky"
            cases={job.report.flaky ?? []}
            more={job.report.flaky_left_out ?? 0}
            job={job.job_name}
            past={past}
          />
          <Slowest tests={job.report.slowest ?? []} />
        </section>
      ))}
    </>
  );
}
