import { describe, expect, it } from "vitest";
import { diskParts, usedText } from "./disk";

const usage = {
  free_bytes: 700,
  record_bytes: 100,
  log_bytes: 50,
  artifact_bytes: 100,
  cache_bytes: 25,
  upload_bytes: 15,
  other_bytes: 10,
  repositories: [],
  unlisted_repositories: 0,
  partial: false,
};

describe("diskParts", () => {
  it("are all kinds with their share of what is used and free", () => {
    const parts = diskParts(usage);
    expect(parts.map(({ kind, percent }) => [kind, percent])).toEqual([
      ["records", 10],
      ["logs", 5],
      ["artifacts", 10],
      ["caches", 2.5],
      ["uploads", 1.5],
      ["other", 1],
      ["free", 70],
    ]);
    expect(usedText(parts)).toBe("300 B");
  });

  it("have no share of nothing", () => {
    const none = { record_bytes: 0, log_bytes: 0, artifact_bytes: 0, cache_bytes: 0, upload_bytes: 0 };
    const parts = diskParts({ ...usage, ...none, other_bytes: 0, free_bytes: 0 });
    expect(parts.every(({ percent }) => percent === 0)).toBe(true);
  });
});
