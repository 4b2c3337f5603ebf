import { describe, expect, it } from "vitest";
import { DEFAULTS, parseOptions } from "./options";
import { extended, formatRange, parseRange } from "./range";
import { Times } from "./times";

describe("links to lines", () => {
  it("are read and written", () => {
    for (const text of ["L1", "L10-L20", "B0", "B4096-B8192"]) {
      const range = parseRange(text);
      expect(range === null ? "" : formatRange(range)).toBe(text);
    }
    expect(parseRange("#L20-10")).toEqual({ unit: "line", first: 10, last: 20 });
    for (const text of ["", "L", "L0", "L-1", "Lx", "L1-B2", "L1-L2-L3", "10", `L${"9".repeat(20)}`])
      expect(parseRange(text), text).toBeNull();
  });

  it("are extended to another line", () => {
    const range = { unit: "line", first: 10, last: 12 } as const;
    expect(extended(range, "line", 20)).toEqual({ unit: "line", first: 10, last: 20 });
    expect(extended(range, "line", 5)).toEqual({ unit: "line", first: 5, last: 10 });
    expect(extended(range, "byte", 5)).toEqual({ unit: "byte", first: 5, last: 5 });
    expect(extended(null, "line", 5)).toEqual({ unit: "line", first: 5, last: 5 });
  });
});

describe("options", () => {
  it("are read, with defaults for what is not valid", () => {
    expect(parseOptions('{"wraps":true,"times":"since"}')).toEqual({
      ...DEFAULTS,
      wraps: true,
      times: "since",
    });
    for (const text of [null, "", "{", "null", "[]", '{"wraps":1,"times":"x"}'])
      expect(parseOptions(text)).toEqual(DEFAULTS);
  });
});

describe("times", () => {
  it("are those of the bytes that arrived together", () => {
    const times = new Times();
    times.add(10, 20, 1000);
    times.add(20, 25, 2000);
    times.add(15, 30, 3000);
    times.add(40, 40, 4000);
    expect([9, 10, 19, 20, 24, 25, 40].map((at) => times.at(at))).toEqual([
      null,
      1000,
      1000,
      2000,
      2000,
      null,
      null,
    ]);
  });

  it("are bounded in number", () => {
    const times = new Times();
    for (let at = 0; at < 120_000; at++) times.add(at, at + 1, at);
    expect(times.at(0)).toBe(0);
    expect(times.at(119_999)).not.toBeNull();
    expect(times.count).toBeLessThanOrEqual(50_001);
  });
});
