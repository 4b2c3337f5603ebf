import { describe, expect, it } from "vitest";
import { at, job } from "./samples";
import { axisMarks, jobSpans, waterfall } from "./waterfall";

const now = Date.parse(at(100));
const kinds = (spans: ReturnType<typeof jobSpans>) =>
  spans.map((span) => [span.kind, (span.end - span.start) / 1000]);

describe("the spans of a job", () => {
  it("are its wait, its preparation and its script", () => {
    const one = job("a", {
      status: "SUCCESS",
      queued_at: at(0),
      start_time: at(2),
      end_time: at(10),
      steps: [{ index: 0, exit_code: 0, duration_ms: 5000 }],
    });
    expect(kinds(jobSpans(one, now))).toEqual([
      ["waiting", 2],
      ["preparing", 3],
      ["running", 5],
    ]);
  });

  it("have earlier attempts, with the wait between them", () => {
    const attempt = {
      attempt: 1,
      started_at: at(1),
      ended_at: at(3),
      exit_code: 1,
      failure: null,
      worker: "w",
    };
    const one = job("a", {
      status: "SUCCESS",
      queued_at: at(0),
      start_time: at(4),
      end_time: at(6),
      attempt: 2,
      attempts: [attempt],
    });
    expect(kinds(jobSpans(one, now))).toEqual([
      ["waiting", 1],
      ["failed-attempt", 2],
      ["waiting", 1],
      ["running", 2],
    ]);
  });

  it("go on while the job waits or runs", () => {
    expect(kinds(jobSpans(job("a", { status: "QUEUED", queued_at: at(90) }), now))).toEqual([
      ["waiting", 10],
    ]);
    const pulls = job("a", {
      status: "RUNNING",
      queued_at: at(90),
      start_time: at(90),
      phase: "pulling image",
    });
    expect(kinds(jobSpans(pulls, now))).toEqual([["preparing", 10]]);
  });

  it("are none for what was carried over, or did not run", () => {
    expect(jobSpans(job("a", { start_time: at(0), end_time: at(1), carried_from: "x" }), now)).toEqual([]);
    expect(waterfall([job("a", { status: "SKIPPED" })], now).rows).toEqual([]);
  });
});

describe("the jobs that wait", () => {
  it("are those that were never queued and may still be", () => {
    const queued = job("queued", { status: "QUEUED", queued_at: at(1) });
    const chart = waterfall([job("later"), queued, job("skipped", { status: "SKIPPED" })], now);
    expect(chart.waiting.map((one) => one.job_name)).toEqual(["later"]);
    expect(chart.rows.map((row) => row.job.job_name)).toEqual(["queued"]);
  });
});

describe("the axis", () => {
  it("has round marks, and never too many", () => {
    expect(axisMarks(12_000, 8)).toEqual([0, 2000, 4000, 6000, 8000, 10_000, 12_000]);
    for (const length of [1, 900, 60_000, 7_200_000, 90 * 86_400_000]) {
      expect(axisMarks(length, 8).length).toBeLessThanOrEqual(9);
    }
  });
});
