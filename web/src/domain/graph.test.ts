import { describe, expect, it } from "vitest";
import { baseName, criticalPath, groupJobs, layOut, reduceLinks } from "./graph";
import { at, job, view } from "./samples";

const ran = (from: number, to: number) => ({
  status: "SUCCESS" as const,
  queued_at: at(from),
  start_time: at(from),
  end_time: at(to),
});

describe("the variants of a matrix", () => {
  it("are one group, with the status that needs the most attention", () => {
    const groups = groupJobs([
      job("unit [os=debian]", { status: "SUCCESS" }),
      job("unit [os=alpine]", { status: "FAILED" }),
      job("lint", { status: "SUCCESS" }),
    ]);
    expect(groups.map((group) => [group.name, group.jobs.length, group.tone])).toEqual([
      ["unit", 2, "failed"],
      ["lint", 1, "success"],
    ]);
  });

  it("are recognized by their names only", () => {
    expect(baseName("unit [a=1, b=2]")).toBe("unit");
    expect(baseName("unit 3/5")).toBe("unit");
    expect(baseName("unit [1] end")).toBe("unit [1] end");
  });
});

describe("the layout", () => {
  it("gives a stage more columns where its jobs need each other", () => {
    const jobs = [
      job("a", { stage: "build" }),
      job("b", { stage: "build", needs: ["a"] }),
      job("c", { stage: "test", needs: ["b"] }),
    ];
    const graph = layOut(view(["build", "test"], jobs), new Set());
    expect(graph.nodes.map((node) => [node.group.name, node.column, node.row])).toEqual([
      ["a", 0, 0],
      ["b", 1, 0],
      ["c", 2, 0],
    ]);
    expect(graph.stages).toEqual([
      { stage: "build", first: 0, count: 2 },
      { stage: "test", first: 2, count: 1 },
    ]);
    expect([graph.columns, graph.rows]).toEqual([3, 1]);
  });

  it("joins folded matrices by one line", () => {
    const jobs = [
      job("build [x=1]", { stage: "build" }),
      job("build [x=2]", { stage: "build" }),
      job("test", { stage: "test", needs: ["build [x=1]", "build [x=2]"] }),
    ];
    expect(layOut(view(["build", "test"], jobs), new Set()).edges).toHaveLength(1);
  });

  it("knows which jobs wait for the stages before", () => {
    const jobs = [
      job("a", { stage: "build", ...ran(0, 10) }),
      job("later", { stage: "test", ...ran(10, 12) }),
      job("at once", { stage: "test", ...ran(0, 2) }),
    ];
    const graph = layOut(view(["build", "test"], jobs), new Set());
    expect(graph.nodes.filter((node) => node.waitsForStage).map((node) => node.group.name)).toEqual([
      "later",
    ]);
  });

  it("leaves out lines that follow from others, also with a cycle", () => {
    const links = new Map([
      ["a", new Set<string>()],
      ["b", new Set(["a"])],
      ["c", new Set(["a", "b"])],
    ]);
    expect([...(reduceLinks(links).get("c") ?? [])]).toEqual(["b"]);
    const cycle = new Map([
      ["a", new Set(["b"])],
      ["b", new Set(["a"])],
    ]);
    expect(reduceLinks(cycle).size).toBe(2);
  });

  it("copes with 2,000 jobs in a chain", () => {
    const jobs = Array.from({ length: 2000 }, (_, index) =>
      job(`job-${index}`, { needs: index === 0 ? [] : [`job-${index - 1}`] }),
    );
    const graph = layOut(view(["test"], jobs), new Set());
    expect([graph.columns, graph.edges.length]).toEqual([2000, 1999]);
  });
});

describe("the critical path", () => {
  it("goes back from the last job to the need that ended last", () => {
    const jobs = [
      job("fast", ran(0, 1)),
      job("slow", ran(0, 5)),
      job("end", { ...ran(5, 6), needs: ["fast", "slow"] }),
      job("aside", ran(0, 2)),
    ];
    expect([...criticalPath(view(["test"], jobs), 0)]).toEqual(["id-end", "id-slow"]);
  });

  it("crosses stages, and leaves out what was carried over", () => {
    const jobs = [
      job("old", { stage: "build", ...ran(0, 9), carried_from: "x" }),
      job("build", { stage: "build", ...ran(0, 4) }),
      job("test", { stage: "test", ...ran(9, 10) }),
    ];
    expect([...criticalPath(view(["build", "test"], jobs), 0)]).toEqual(["id-test", "id-build"]);
  });
});
