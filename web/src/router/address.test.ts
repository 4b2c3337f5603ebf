import { describe, expect, it } from "vitest";
import { formatAddress, parseAddress } from "./address";

describe("addresses", () => {
  it("reads path and parameters", () => {
    const address = parseAddress("#/execution/0192/job/7?attempt=2&lines=L3-L9");
    expect(address.path).toEqual(["execution", "0192", "job", "7"]);
    expect([...address.query]).toEqual([
      ["attempt", "2"],
      ["lines", "L3-L9"],
    ]);
  });

  it("survive writing and reading, with any characters", () => {
    const text = formatAddress(
      ["executions"],
      [
        ["repo", "https://example.com/a b?c&d#e"],
        ["status", ""],
      ],
    );
    expect(parseAddress(text).query.get("repo")).toBe("https://example.com/a b?c&d#e");
    expect(parseAddress(text).query.has("status")).toBe(false);
  });

  it("keep what is not valid percent-encoding", () => {
    expect(parseAddress("#/execution/%E0%A4%A").path).toEqual(["execution", "%E0%A4%A"]);
  });
});
