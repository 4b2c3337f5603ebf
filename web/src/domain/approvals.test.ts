import { describe, expect, it } from "vitest";
import { approverText, callerNote, missingText, progressText, protectRequest } from "./approvals";
import { job } from "./samples";
import { jobExplanation } from "./status";

const rule = {
  environment: "production",
  approvals: 2,
  missing: 1,
  by: ["group:github:acme/ops", "token:release"],
  exclude_starter: true,
};

describe("the approvals of a job", () => {
  it("name who may give them", () => {
    const patterns = [
      "user:*",
      "user:oidc:ann@example.org",
      "group:gitlab:acme/*",
      "role:maintainer",
      "token:bot",
    ];
    expect(patterns.map(approverText)).toEqual([
      "everyone who may approve",
      "oidc:ann@example.org",
      "group gitlab:acme/*",
      "maintainers",
      "token bot",
    ]);
  });

  it("say what is missing", () => {
    expect(missingText(rule)).toBe(
      "production: 1 of 2 approvals, to be given by group github:acme/ops or token release, not by who started the execution",
    );
    expect(progressText({ required: [rule, { ...rule, approvals: 4, missing: 3 }] })).toBe(
      "1 of 4 approvals",
    );
    expect(progressText({ required: [{ ...rule, approvals: 1 }] })).toBe("0 of 1 approval");
    expect(progressText({ required: [{ ...rule, missing: 0 }] })).toBeNull();
    expect(progressText(null)).toBeNull();
  });

  it("are counted in the explanation of a job", () => {
    const waiting = { status: "PENDING", approval: "awaited" } as const;
    expect(jobExplanation(job("a", waiting))).toBe("waiting for approval");
    expect(jobExplanation(job("a", { ...waiting, approvals: { required: [rule] } }))).toBe(
      "waiting for approval: 1 of 2 approvals",
    );
  });

  it("say why the viewer does not approve", () => {
    expect(callerNote("counts")).toBeNull();
    expect(callerNote(undefined)).toBeNull();
    const notes = (["given", "starter", "not_approver", "too_many"] as const).map(callerNote);
    expect(new Set(notes).size).toBe(4);
    expect(notes).not.toContain(null);
  });
});

describe("a rule from a form", () => {
  it("has trimmed texts and no empty patterns", () => {
    const form = {
      environment: " prod* ",
      approvals: "2",
      by: "user:oidc:ann,  group:oidc:ops ",
      excludeStarter: true,
    };
    expect(protectRequest("r", form)).toEqual({
      repo: "r",
      environment: "prod*",
      approvals: 2,
      by: ["user:oidc:ann", "group:oidc:ops"],
      exclude_starter: true,
    });
    expect(protectRequest("r", { ...form, by: "" }).by).toEqual([]);
  });
});
