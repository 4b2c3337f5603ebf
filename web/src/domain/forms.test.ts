import { describe, expect, it } from "vitest";
import { secretRequest } from "./secrets";
import { tokenRequest } from "./tokens";

describe("tokenRequest", () => {
  it("leaves out what is not limited", () => {
    expect(tokenRequest({ name: " ci ", scope: "run", repo: " a/b ", days: 30 })).toEqual({
      name: "ci",
      scopes: ["run"],
      repo: "a/b",
      expire_in_s: 2_592_000,
    });
    expect(tokenRequest({ name: "w", scope: "worker", repo: "a/b", days: 0 })).toEqual({
      name: "w",
      scopes: ["worker"],
    });
  });
});

describe("secretRequest", () => {
  it("has options for variables only, and keeps the value as it is", () => {
    const form = { name: "KEY", value: " a\n", environment: "" };
    expect(secretRequest("r", { ...form, kind: "secret" })).toEqual({
      repo: "r",
      name: "KEY",
      value: " a\n",
    });
    expect(secretRequest("r", { ...form, kind: "masked", environment: "production" })).toEqual({
      repo: "r",
      name: "KEY",
      value: " a\n",
      environment: "production",
      variable: { masked: true },
    });
    expect(secretRequest("r", { ...form, kind: "variable" }).variable).toEqual({ masked: false });
  });
});
