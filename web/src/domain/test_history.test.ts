import { describe, expect, it } from "vitest";
import type { ExecutionTests } from "../api/types";
import { execution } from "./samples";
import { historySummary, testHistory } from "./test_history";

const counts = { tests: 4, failures: 0, errors: 0, skipped: 0, flaky: 0, duration_ms: 9 };
const tests = (report: object): ExecutionTests => ({
  counts,
  jobs: [{ job_id: "1", job_name: "unit", report: { counts, ...report } }],
});
const past = (all: ExecutionTests): { execution: ReturnType<typeof execution>; tests: ExecutionTests } => ({
  execution: execution("before"),
  tests: all,
});
const gate = { suite: "gate", name: "closes" };

describe("testHistory", () => {
  it("says what the test did in each execution", () => {
    const history = testHistory(
      [
        past(tests({ failed: [gate] })),
        past(tests({ flaky: [gate], failed: [{ suite: "gate", name: "opens" }] })),
        past(tests({})),
        past(tests({ failed_left_out: 3 })),
        past({ counts, jobs: [] }),
      ],
      "unit",
      "gate",
      "closes",
    );
    expect(history.map(({ tone }) => tone)).toEqual(["failed", "tolerated", "success", "pending", "skipped"]);
    expect(historySummary(history)).toBe("failed in 1 of 4 before");
    expect(historySummary(history.slice(4))).toBe("no earlier results");
  });
});
