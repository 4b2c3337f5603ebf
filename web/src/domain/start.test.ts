import { describe, expect, it } from "vitest";
import { knownBranches, knownPipelines } from "./start";

const recent = (id: string, pipeline_name: string, branch: string | null) => ({
  id,
  pipeline_name,
  run_number: 1,
  branch,
  title: null,
  status: "SUCCESS" as const,
  created_at: "2026-01-01T00:00:00Z",
  start_time: null,
  end_time: "2026-01-01T00:00:00Z",
});

const repositories = [
  {
    repo: "a",
    default_branch: "main",
    status: null,
    of_default_branch: [recent("2", "ci", "main")],
    recent: [recent("4", "ci", "topic"), recent("3", "release", null), recent("2", "ci", "main")],
  },
  {
    repo: "b",
    default_branch: null,
    status: null,
    of_default_branch: [],
    recent: [recent("9", "other", "x")],
  },
];

describe("what can be started in a repository", () => {
  it("is each pipeline once, as it ran on the default branch if it did", () => {
    expect(knownPipelines(repositories, "a")).toEqual([
      { name: "ci", executionId: "2" },
      { name: "release", executionId: "3" },
    ]);
    expect(knownPipelines(repositories, "c")).toEqual([]);
  });

  it("has the branches on which something ran, the default branch first", () => {
    expect(knownBranches(repositories, "a")).toEqual(["main", "topic"]);
    expect(knownBranches(repositories, "b")).toEqual(["x"]);
  });
});
