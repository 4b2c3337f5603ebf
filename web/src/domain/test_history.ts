// How a test did in earlier executions of its pipeline.
import type { ExecutionSummary, ExecutionTests } from "../api/types";
import type { Tone } from "./status";

/** An earlier execution, with its tests. */
export interface PastTests {
  readonly execution: ExecutionSummary;
  readonly tests: ExecutionTests;
}

export interface PastOutcome {
  readonly execution: ExecutionSummary;
  readonly tone: Tone;
  readonly text: string;
}

const isCase =
  (suite: string, name: string) =>
  (one: { readonly suite: string; readonly name: string }): boolean =>
    one.suite === suite && one.name === name;

/** What a test of a job did in each of these executions. Reports list only failed and flaky tests. */
export function testHistory(
  past: readonly PastTests[],
  job: string,
  suite: string,
  name: string,
): PastOutcome[] {
  return past.map(({ execution, tests }) => {
    const report = tests.jobs.find((one) => one.job_name === job)?.report;
    const is = isCase(suite, name);
    if (report === undefined) return { execution, tone: "skipped", text: "the job reported no tests" };
    if ((report.failed ?? []).some(is)) return { execution, tone: "failed", text: "failed" };
    if ((report.flaky ?? []).some(is)) return { execution, tone: "tolerated", text: "was flaky" };
    if ((report.failed_left_out ?? 0) > 0)
      return { execution, tone: "pending", text: "not known: too many tests failed" };
    return { execution, tone: "success", text: "did not fail" };
  });
}

/** `failed in 3 of 10 before`, of those in which the job reported its tests. */
export function historySummary(history: readonly PastOutcome[]): string {
  const ran = history.filter(({ tone }) => tone !== "skipped");
  if (ran.length === 0) return "no earlier results";
  return `failed in ${ran.filter(({ tone }) => tone === "failed").length} of ${ran.length} before`;
}
