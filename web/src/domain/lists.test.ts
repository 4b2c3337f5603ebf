import { describe, expect, it } from "vitest";
import { nextPause } from "../api/polling";
import { visibleRows } from "../components/useWindowRows";
import { formatAge, formatBytes, formatCount, formatDuration } from "./duration";
import { listQuery, mergeExecutions, mergeFirstPage, readFilter } from "./executions";
import { inputFields, inputValues } from "./inputs";
import { failureRate, fillDays, startingWith } from "./insight";
import { authorName, shortRepo } from "./names";
import { execution } from "./samples";
import { matches } from "./search";

describe("the filter of executions", () => {
  const query = (text: string) => listQuery(readFilter(new Map(new URLSearchParams(text))));

  it("leaves internal executions out unless asked, or unless they failed", () => {
    expect(query("")).toEqual({ kind: "run_pipeline", failed_discoveries: true });
    expect(query("internal=yes")).toEqual({});
  });

  it("searches for a commit if the text looks like one", () => {
    expect(query("internal=yes&text=ab12cd3")).toEqual({ commit: "ab12cd3" });
    expect(query("internal=yes&text=fix tide")).toEqual({ text: "fix tide" });
  });

  it("ignores values that the API does not have", () => {
    expect(query("internal=yes&status=GREEN&event=magic&branch=main")).toEqual({ branch: "main" });
  });
});

describe("pages of executions", () => {
  it("are merged without doubles, the newest first", () => {
    const old = [execution("3", { status: "RUNNING" }), execution("1")];
    const merged = mergeExecutions(old, [execution("4"), execution("3"), execution("2")]);
    expect(merged.map((one) => [one.id, one.status])).toEqual([
      ["4", "SUCCESS"],
      ["3", "SUCCESS"],
      ["2", "SUCCESS"],
      ["1", "SUCCESS"],
    ]);
  });

  const part = (ids: string, cursor: string | null) => ({
    executions: ids
      .split(" ")
      .filter(Boolean)
      .map((id) => execution(id)),
    cursor,
  });
  const merged = (old: ReturnType<typeof part>, page: ReturnType<typeof part>) => {
    const { executions, cursor } = mergeFirstPage(old, page);
    return [executions.map((one) => one.id).join(""), cursor];
  };

  it("lose what a newer first page has no longer, and keep what is older than the page", () => {
    expect(merged(part("7 6 5 3 2 1", "end"), part("8 6 3", "page"))).toEqual(["86321", "end"]);
    expect(merged(part("7 6 5", null), part("7 6", null))).toEqual(["76", null]);
    expect(merged(part("7", null), part("", null))).toEqual(["", null]);
  });

  it("begin anew where executions between may be missing", () => {
    expect(merged(part("3 2 1", null), part("9 8 7", "page"))).toEqual(["987", "page"]);
    expect(merged(part("", null), part("3", "page"))).toEqual(["3", "page"]);
    expect(merged(part("3 2 1", "end"), part("", "page"))).toEqual(["", "page"]);
  });
});

describe("a long list", () => {
  it("has few rows on the page, wherever it is scrolled to", () => {
    for (const top of [100, -5000, -599_000, -700_000]) {
      const { first, end } = visibleRows(10_000, 60, top, 900);
      expect(end - first).toBeLessThan(50);
      expect(first).toBeGreaterThanOrEqual(0);
      expect(end).toBeLessThanOrEqual(10_000);
    }
    expect(visibleRows(3, 60, 0, 900)).toEqual({ first: 0, end: 3 });
  });
});

describe("polling", () => {
  it("slows down while nothing changes", () => {
    let pause = 1000;
    for (let pass = 0; pass < 10; pass += 1) pause = nextPause(pause, "unchanged");
    expect(pause).toBe(15_000);
    expect(nextPause(pause, "live")).toBe(5000);
    expect(nextPause(pause, "changed")).toBe(1000);
  });
});

describe("texts", () => {
  it("of durations have one form for each size", () => {
    const texts = [900, 42_000, 125_000, 4_020_000, 277_200_000].map(formatDuration);
    expect(texts).toEqual(["0.9s", "42s", "2m05s", "1h07m", "3d 5h"]);
    expect(formatDuration(-5)).toBe("0.0s");
  });

  it("of ages say how long ago", () => {
    const now = Date.UTC(2026, 0, 10);
    expect(formatAge(now - 3000, now)).toBe("now");
    expect(formatAge(now - 300_000, now)).toBe("5 minutes ago");
    expect(formatAge(now + 90_000_000, now)).toBe("in 1 day");
    expect(formatAge(now - 40 * 86_400_000, now)).toBe("1 month ago");
    expect(formatAge(now - 3 * 365 * 86_400_000, now)).toBe("3 years ago");
  });

  it("of names are short", () => {
    expect(shortRepo("https://git.example.org/team/app.git")).toBe("team/app");
    expect(shortRepo("git@git.example.org:team/app.git")).toBe("team/app");
    expect(authorName("Mara Lindqvist <mara@example.org>")).toBe("Mara Lindqvist");
    expect(formatBytes(1536)).toBe("1.5 KiB");
    expect([0, 999, 1000, 2_000_000].map(formatCount)).toEqual(["0", "999", "1,000", "2,000,000"]);
  });

  it("match a search by all its words", () => {
    expect(matches("tide fix", "Fix the Tide tables")).toBe(true);
    expect(matches("tide gone", "Fix the Tide tables")).toBe(false);
  });
});

describe("inputs of a pipeline", () => {
  const schema = {
    properties: {
      dry: { type: "boolean", default: true },
      level: { type: "number", default: 3, description: "How far" },
      kind: { type: "string", enum: ["a", "b"] },
      who: { type: "string", pattern: "^x" },
    },
    required: ["kind"],
  };

  it("have a field each, by their type", () => {
    expect(
      inputFields(schema).map((field) => [field.name, field.kind, field.required, field.initial]),
    ).toEqual([
      ["dry", "boolean", false, "true"],
      ["level", "number", false, "3"],
      ["kind", "choice", true, ""],
      ["who", "text", false, ""],
    ]);
    expect(inputFields(null)).toEqual([]);
  });

  it("are sent with their types, and only if they were changed", () => {
    const fields = inputFields({ ...schema, required: ["kind", "dry"] });
    expect(inputValues(inputFields(schema), new Map([["level", "3"]]))).toEqual({});
    expect(inputValues(inputFields(schema), new Map([["level", ""]]))).toEqual({});
    expect(inputValues(fields, new Map([["level", "9007199254740993"]]))).toEqual({
      dry: true,
      level: "9007199254740993",
    });

    const texts = new Map([
      ["dry", "false"],
      ["level", "4.5"],
      ["kind", "b"],
    ]);
    expect(inputValues(inputFields(schema), texts)).toEqual({ dry: false, level: 4.5, kind: "b" });
  });
});

describe("statistics", () => {
  it("do not count what was canceled", () => {
    expect(failureRate({ count: 10, failed: 2, canceled: 2 })).toBe("25 %");
    expect(failureRate({ count: 1, failed: 0, canceled: 1 })).toBe("–");
  });

  it("begin with one pipeline if it is there", () => {
    const pipelines = ["a", "b", "c"].map((pipeline_name) => ({ pipeline_name }));
    const names = (first: string | null) => startingWith(pipelines, first).map((one) => one.pipeline_name);
    expect(names("c")).toEqual(["c", "a", "b"]);
    expect(names("d")).toEqual(["a", "b", "c"]);
    expect(names(null)).toEqual(["a", "b", "c"]);
  });

  it("have every day", () => {
    const counts = { count: 1, succeeded: 1, failed: 0, canceled: 0, retries: 0 };
    const days = fillDays("2026-01-01T00:00:00Z", 3, [
      {
        day: "2026-01-02T00:00:00Z",
        counts: { ...counts, median_ms: 5, p95_ms: 5, queue_median_ms: 1, queue_p95_ms: 1 },
      },
    ]);
    expect(days.map((one) => one.counts?.count ?? 0)).toEqual([0, 1, 0]);
  });
});
