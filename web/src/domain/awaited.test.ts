// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { approvalRows } from "./awaited";
import { execution } from "./samples";

const rule = { environment: "production", approvals: 2, missing: 1, by: ["user:*"], exclude_starter: false };

describe("what waits for an approval", () => {
  it("is the viewer's own only where their approval counts", () => {
    const [mine, theirs] = approvalRows([
      {
        execution: execution("e"),
        caller_may_run: true,
        jobs: [
          { name: "deploy", caller_approval: "counts", approvals: { required: [rule] } },
          { name: "publish", caller_approval: "starter", approvals: { required: [rule] } },
        ],
      },
    ]);
    expect(mine).toMatchObject({ name: "deploy", progress: "1 of 2 approvals", isMine: true });
    expect(theirs).toMatchObject({ name: "publish", isMine: false });
    expect(mine?.href).toContain("/jobs/deploy");
  });

  it("is an execution as a whole, or a matrix in one row", () => {
    const variants = ["a", "b", "c"].map((value) => ({
      name: `ship [to=${value}]`,
      caller_approval: value === "c" ? ("given" as const) : ("counts" as const),
    }));
    const rows = approvalRows([
      { execution: execution("held", { pipeline_name: "ci", run_number: 3 }), jobs: [] },
      { execution: execution("many"), jobs: variants, caller_may_run: true },
    ]);
    expect(rows.map(({ name, isMine }) => [name, isMine])).toEqual([
      ["ci #3", false],
      ["ship (2 variants)", true],
      ["ship [to=c]", false],
    ]);
  });
});
