import { describe, expect, it } from "vitest";
import { EMPTY_FORM, formOf, ruleText, rulesOf, withRule } from "./retention";

const SETTINGS = { rule: { days: 90 }, pipelines: { nightly: { log_days: 7 } }, cache_days: 3 };

describe("withRule", () => {
  it("replaces the rule of the same pipelines, and keeps everything else", () => {
    expect(withRule(SETTINGS, { ...EMPTY_FORM, days: "30", keepTags: "no" })).toEqual({
      ...SETTINGS,
      rule: { days: 30, keep_tags: false },
    });
    expect(withRule(SETTINGS, { ...EMPTY_FORM, pipeline: " ci ", last: "0" })).toEqual({
      ...SETTINGS,
      pipelines: { ...SETTINGS.pipelines, ci: { last: 0 } },
    });
  });

  it("removes a rule that says nothing", () => {
    expect(withRule(SETTINGS, EMPTY_FORM)).toEqual({ ...SETTINGS, rule: {} });
    expect(withRule(SETTINGS, { ...EMPTY_FORM, pipeline: "nightly" })).toEqual({
      ...SETTINGS,
      pipelines: {},
    });
  });

  it("takes pipelines whose names are those of properties of objects", () => {
    const settings = withRule({}, { ...EMPTY_FORM, pipeline: "__proto__", days: "1" });
    expect(Object.keys(settings.pipelines ?? {})).toEqual(["__proto__"]);
    expect(rulesOf(settings)).toEqual([{ pipeline: "__proto__", rule: { days: 1 } }]);
  });

  it("gives the rule back that a form was filled with", () => {
    const rule = { days: 0, last: 5, branch_days: 2, keep_tags: true, log_days: 1, artifact_days: 3 };
    expect(withRule({}, formOf("", rule)).rule).toEqual(rule);
    expect(withRule({}, formOf("", {})).rule).toEqual({});
  });
});

describe("rulesOf", () => {
  it("lists the rule of all pipelines first, and no empty one", () => {
    expect(rulesOf(SETTINGS).map(({ pipeline }) => pipeline)).toEqual(["", "nightly"]);
    expect(rulesOf({ rule: {}, pipelines: {} })).toEqual([]);
    expect(rulesOf({ rule: { days: null } })).toEqual([]);
  });
});

describe("ruleText", () => {
  it("says what 0 means", () => {
    expect(
      ruleText({ days: 0, last: 0, branch_days: 0, log_days: 0, artifact_days: 0, keep_tags: false }),
    ).toEqual([
      "executions: for ever",
      "no number of the newest",
      "the newest of each branch: as any other",
      "tags: as any other",
      "logs: as their execution",
      "artifacts: as their execution",
    ]);
  });

  it("counts days", () => {
    expect(ruleText({ days: 1, log_days: 14, last: 20 })).toEqual([
      "executions: 1 day",
      "the newest 20 of each pipeline",
      "logs: 14 days",
    ]);
  });
});
