// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import type { ExecutionView, JobView } from "../../api/types";
import { execution, job } from "../../domain/samples";
import { executionActions, jobActions } from "./actions";

function viewOf(jobs: JobView[], changes: Partial<ExecutionView> = {}): ExecutionView {
  const of = execution("e", { status: "RUNNING" });
  return { execution: of, stages: ["test"], jobs, caller_may_run: true, ...changes };
}

const NOTHING = { approve: false, cancel: false, retry: false, runInRetry: false };

describe("what the viewer is offered", () => {
  const waiting = { status: "PENDING", approval: "awaited" } as const;

  it("is an approval only where it counts", () => {
    for (const [approval, offered] of [
      ["counts", true],
      ["given", false],
      ["starter", false],
      ["not_approver", false],
      ["too_many", false],
      [null, false],
    ] as const) {
      const one = job("deploy", { ...waiting, caller_approval: approval });
      expect(jobActions(one, viewOf([one]))).toEqual({ ...NOTHING, approve: offered, cancel: true });
    }
  });

  it("is nothing to who may only read the repository", () => {
    const one = job("deploy", { ...waiting, caller_approval: "not_approver" });
    const held = viewOf([one], { caller_may_run: false, approval: "awaited" });
    expect(jobActions(one, held)).toEqual(NOTHING);
    expect(Object.values(executionActions(held))).not.toContain(true);
    const ended = viewOf([job("a", { status: "FAILED" })], {
      caller_may_run: false,
      execution: execution("e", { status: "FAILED" }),
    });
    expect(Object.values(executionActions(ended))).not.toContain(true);
    expect(executionActions({ ...ended, caller_may_run: true })).toEqual({
      approve: false,
      cancel: false,
      retryUnsuccessful: true,
      retryAll: true,
      pin: true,
      unpin: false,
    });
    const pin = { by: "ann", at: "2026-01-01T00:00:00Z" };
    const pinned = executionActions({ ...ended, caller_may_run: true, pin });
    expect([pinned.pin, pinned.unpin]).toEqual([false, true]);
  });

  it("is a retry, not an approval, once the execution of an unapproved job has ended", () => {
    const one = job("deploy", {
      status: "SKIPPED",
      approval: "awaited",
      failure_reason: { kind: "not_approved", message: "skipped: not approved" },
    });
    const ended = viewOf([one], { execution: execution("e", { status: "SUCCESS" }) });
    expect(jobActions(one, ended)).toEqual({ ...NOTHING, runInRetry: true });
    expect(jobActions(one, viewOf([one]))).toEqual({ ...NOTHING });
    expect(jobActions(one, { ...ended, caller_may_run: false })).toEqual(NOTHING);
  });
});
