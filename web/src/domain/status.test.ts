import { describe, expect, it } from "vitest";
import { job, view } from "./samples";
import { byAttention, jobExplanation, jobTone, notQueuedReason } from "./status";

describe("the tone of a job", () => {
  it("is not that of a failure if the failure is allowed", () => {
    expect(jobTone(job("a", { status: "FAILED" }))).toBe("failed");
    expect(jobTone(job("a", { status: "FAILED", allow_failure: true }))).toBe("tolerated");
    expect(jobTone(job("a", { status: "FAILED", tolerated: true }))).toBe("tolerated");
  });

  it("shows what waits for an approval", () => {
    expect(jobTone(job("a", { status: "PENDING", approval: "awaited" }))).toBe("approval");
    expect(jobTone(job("a", { status: "PENDING", approval: "given" }))).toBe("pending");
  });
});

describe("why a job was not queued yet", () => {
  it("are the stages before it, if it needs no job", () => {
    const jobs = [job("a", { stage: "build" }), job("b"), job("c", { needs: ["a"] })];
    const reasons = jobs.map((one) => notQueuedReason(one, view(["build", "test"], jobs)));
    expect(reasons).toEqual(["waiting", "waiting for the stages before", "waiting for a"]);
  });
});

describe("the order of jobs", () => {
  it("starts with failures and keeps the plan's order otherwise", () => {
    const jobs = [
      job("a", { status: "SUCCESS" }),
      job("b", { status: "RUNNING" }),
      job("c", { status: "FAILED" }),
      job("d", { status: "SUCCESS" }),
    ];
    expect(byAttention(jobs).map((one) => one.job_name)).toEqual(["c", "b", "a", "d"]);
  });
});

describe("the explanation of a job", () => {
  it("names the labels that a worker must have", () => {
    expect(jobExplanation(job("a", { status: "QUEUED", runs_on: { gpu: "true" } }))).toBe(
      "waiting for a worker with gpu=true",
    );
  });

  it("names who holds the place in a concurrency group", () => {
    const holder = { execution_id: "e", run_number: 7, pipeline_name: "deploy", job_name: "production" };
    const waits = { group: "prod", limit: 1, holders: [holder] };
    expect(jobExplanation(job("a", { status: "PENDING", waits_for_place: waits }))).toBe(
      "waiting for concurrency group “prod”, held by deploy #7 production",
    );
  });

  it("is the reason of a failure or a skip", () => {
    const reason = { kind: "needs_failed", message: "skipped: `b` did not succeed" } as const;
    expect(jobExplanation(job("a", { status: "SKIPPED", failure_reason: reason }))).toBe(reason.message);
  });
});
