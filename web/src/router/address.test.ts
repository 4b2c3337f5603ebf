import { describe, expect, it } from "vitest";
import { formatAddress, parseAddress } from "./address";

describe("addresses", () => {
  it("have a path, parameters and a fragment", () => {
    const address = parseAddress("executions/0192/jobs/unit%20%5Ba%3D1%2F2%5D?attempt=2#L3-L9");
    expect(address.path).toEqual(["executions", "0192", "jobs", "unit [a=1/2]"]);
    expect([...address.query]).toEqual([["attempt", "2"]]);
    expect(address.fragment).toBe("L3-L9");
  });

  it("survive writing and reading, with any characters", () => {
    const text = formatAddress(
      ["executions", "a/b c"],
      [
        ["repo", "https://example.com/a b?c&d#e"],
        ["status", ""],
      ],
      "L1",
    );
    const address = parseAddress(text);
    expect(address.path).toEqual(["executions", "a/b c"]);
    expect(address.query.get("repo")).toBe("https://example.com/a b?c&d#e");
    expect(address.query.has("status")).toBe(false);
    expect(address.fragment).toBe("L1");
  });

  it("keep what is not valid percent-encoding", () => {
    expect(parseAddress("executions/%E0%A4%A").path).toEqual(["executions", "%E0%A4%A"]);
  });
});
