import { beforeAll, describe, expect, it, vi } from "vitest";
import type { EventParser as Parser } from "./events";

describe("a stream of events", () => {
  let EventParser: typeof Parser;
  beforeAll(async () => {
    vi.stubGlobal("document", { baseURI: "http://localhost/", querySelector: () => null });
    const storage = { getItem: () => null, setItem: () => undefined, removeItem: () => undefined };
    vi.stubGlobal("sessionStorage", storage);
    vi.stubGlobal("localStorage", storage);
    ({ EventParser } = await import("./events"));
  });

  it("is read in parts of any size, without its comments", () => {
    const text = ': \n\nevent: changed\ndata: {"version":"1"}\n\n: \n\nevent: end\ndata: {"version":"2"}\n\n';
    for (const size of [1, 7, 1000]) {
      const parser = new EventParser();
      const found = [];
      for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
      expect(found).toEqual([
        { name: "changed", data: '{"version":"1"}' },
        { name: "end", data: '{"version":"2"}' },
      ]);
    }
  });

  it("is given up when an event does not end", () => {
    const parser = new EventParser();
    expect(() => parser.push("x".repeat(100_000))).toThrow();
  });
});
