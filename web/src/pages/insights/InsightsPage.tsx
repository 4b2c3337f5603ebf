import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get } from "../../api/client";
import type { Insights } from "../../api/types";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { RepositoryChoice } from "../../components/RepositoryChoice";
import { useLive } from "../../components/useLive";
import { formatDuration } from "../../domain/duration";
import { failureRate, formatDollars, startingWith } from "../../domain/insight";
import { shortRepo } from "../../domain/names";
import { address, setQuery, to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { CoverageTrend } from "./CoverageTrend";
import { DayBars } from "./DayBars";

type Pipeline = Insights["pipelines"][number];
type Job = Pipeline["jobs"][number];

const DAYS = ["7", "30", "90"];

const time = (milliseconds: number | null | undefined): string =>
  milliseconds == null ? "–" : formatDuration(milliseconds);

function Numbers({ pipeline }: { pipeline: Pipeline }): JSX.Element {
  const of = pipeline.executions;
  const facts: readonly (readonly [string, string | number])[] = [
    ["executions", of.count],
    ["failure rate", failureRate(of)],
    ["median", time(of.median_ms)],
    ["95th percentile", time(of.p95_ms)],
    ["median wait", time(of.queue_median_ms)],
    ["more attempts", of.retries],
    ...(pipeline.cost_usd == null ? [] : [["cost", formatDollars(pipeline.cost_usd)] as const]),
  ];
  return (
    <dl class="numbers">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="number">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Tests that failed and passed for the same commit. */
function FlakyTests({ pipeline }: { pipeline: Pipeline }): JSX.Element | null {
  const tests = pipeline.flaky_tests ?? [];
  if (tests.length === 0) return null;
  return (
    <details open>
      <summary>Flaky tests, the most frequent first</summary>
      <DataTable
        label={`Flaky tests of ${pipeline.pipeline_name}`}
        rows={tests}
        rowKey={(test) => `${test.job_name} ${test.suite} ${test.name}`}
        empty=""
        columns={[
          {
            name: "Test",
            cell: (test) => (
              <>
                <span class="dim">{test.suite}</span> <strong>{test.name}</strong>
              </>
            ),
          },
          { name: "Job", cell: (test) => test.job_name },
          { name: "Executions", cell: (test) => <span class="number">{test.count}</span> },
          { name: "Last", cell: (test) => <a href={to.execution(test.last_execution, "tests")}>show</a> },
        ]}
      />
    </details>
  );
}

function PipelineInsight({ pipeline, insights }: { pipeline: Pipeline; insights: Insights }): JSX.Element {
  const jobs = [...pipeline.jobs].sort((a, b) => (b.counts.median_ms ?? 0) - (a.counts.median_ms ?? 0));
  return (
    <section class="card padded" aria-label={`Pipeline ${pipeline.pipeline_name}`}>
      <h2>
        <a href={to.executions({ repo: insights.repo, pipeline: pipeline.pipeline_name })}>
          {pipeline.pipeline_name}
        </a>
      </h2>
      <Numbers pipeline={pipeline} />
      <DayBars from={insights.from} days={insights.days} byDay={pipeline.by_day} />
      <CoverageTrend from={insights.from} days={insights.days} coverage={pipeline.coverage ?? []} />
      <FlakyTests pipeline={pipeline} />
      <details>
        <summary>Jobs, the slowest first</summary>
        <DataTable
          label={`Jobs of ${pipeline.pipeline_name}`}
          rows={jobs}
          rowKey={(job) => job.job_name}
          empty="No job has ended."
          columns={[
            { name: "Job", cell: (job) => <strong>{job.job_name}</strong> },
            { name: "Runs", cell: (job) => <span class="number">{job.counts.count}</span> },
            { name: "Failure rate", cell: (job) => <span class="number">{failureRate(job.counts)}</span> },
            { name: "Median", cell: (job) => <span class="number">{time(job.counts.median_ms)}</span> },
            { name: "95th percentile", cell: (job) => <span class="number">{time(job.counts.p95_ms)}</span> },
            {
              name: "Median wait",
              cell: (job) => <span class="number">{time(job.counts.queue_median_ms)}</span>,
            },
            { name: "More attempts", cell: (job) => <span class="number">{job.counts.retries}</span> },
            ...(pipeline.cost_usd == null
              ? []
              : [
                  {
                    name: "Cost",
                    cell: (job: Job) => (
                      <span class="number">{job.cost_usd == null ? "–" : formatDollars(job.cost_usd)}</span>
                    ),
                  },
                ]),
          ]}
        />
      </details>
    </section>
  );
}

function InsightsOf({
  repo,
  days,
  first = null,
}: {
  repo: string;
  days: string;
  /** The pipeline to show first. */
  first?: string | null;
}): JSX.Element {
  const { value, error, refresh } = useLive(
    `${repo} ${days}`,
    (signal) => get("/api/insights", { query: { repo, days: Number(days) }, signal }),
    () => true,
  );
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  if (value.pipelines.length === 0)
    return <p class="empty">No execution of this repository ended in these days.</p>;
  return (
    <>
      {value.truncated === true && <p class="note warning">There are more pipelines than one reply has.</p>}
      {startingWith(value.pipelines, first).map((pipeline) => (
        <PipelineInsight key={pipeline.pipeline_name} pipeline={pipeline} insights={value} />
      ))}
    </>
  );
}

/** Without a choice: the repository in which something ended last, beginning with that pipeline. */
function LatestInsights({ days }: { days: string }): JSX.Element {
  const { value, error, refresh } = useLive(
    "latest",
    (signal) => get("/api/overview", { signal }),
    () => true,
  );
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  const latest = value.repositories[0];
  if (latest === undefined) return <p class="empty">No execution has ended yet.</p>;
  return (
    <>
      <p class="soft">
        <a href={to.insights({ repo: latest.repo })}>{shortRepo(latest.repo)}</a>, in which the last execution
        ended
      </p>
      <InsightsOf repo={latest.repo} days={days} first={latest.recent[0]?.pipeline_name ?? null} />
    </>
  );
}

/** Durations, failures, waits, flaky tests, coverage and cost of a repository's pipelines. */
export function InsightsPage(): JSX.Element {
  useTitle("Insights");
  const { query } = address.value;
  const repo = query.get("repo") ?? "";
  const days = DAYS.find((one) => one === query.get("days")) ?? "30";
  const [text, setText] = useState(repo);
  return (
    <main id="main" tabIndex={-1}>
      <h1>Insights</h1>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          setQuery({ repo: text });
        }}
      >
        <RepositoryChoice value={text} onValue={setText} />
        <label class="field">
          <span>Days</span>
          <select value={days} onChange={(event) => setQuery({ days: event.currentTarget.value })}>
            {DAYS.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <button type="submit">Show</button>
      </form>
      {repo === "" ? <LatestInsights days={days} /> : <InsightsOf repo={repo} days={days} />}
    </main>
  );
}
