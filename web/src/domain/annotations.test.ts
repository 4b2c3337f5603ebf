import { expect, test } from "vitest";
import type { JobAnnotation } from "../api/types";
import { countText, groupByFile, linesOf, sourceAddress } from "./annotations";

function annotation(changes: Partial<JobAnnotation>): JobAnnotation {
  return { job_id: "id", job_name: "lint", other_jobs: 0, level: "warning", message: "m", ...changes };
}

test("annotations are grouped by file in the order of the list", () => {
  const all = [
    annotation({ path: "b.rs", level: "failure" }),
    annotation({ message: "no file" }),
    annotation({ path: "a.rs" }),
    annotation({ path: "b.rs", line: 3 }),
  ];
  const groups = groupByFile(all).map((group) => [group.path, group.annotations.length]);
  expect(groups).toEqual([
    [null, 1],
    ["b.rs", 2],
    ["a.rs", 1],
  ]);
});

test("lines and counts are short", () => {
  expect(linesOf(annotation({}))).toBe("");
  expect(linesOf(annotation({ line: 3 }))).toBe("3");
  expect(linesOf(annotation({ line: 3, column: 5 }))).toBe("3:5");
  expect(linesOf(annotation({ line: 3, column: 5, end_line: 9 }))).toBe("3–9");
  expect(countText({ failures: 1, warnings: 2, notices: 0, left_out: 7 })).toBe(
    "1 failure, 2 warnings, 7 more",
  );
});

test("a line of a commit has an address at known providers only", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const at = annotation({ path: "src/a b#.rs", line: 3 });
  expect(sourceAddress("https://github.com/a/b.git", commit, at)).toBe(
    `https://github.com/a/b/blob/${commit}/src/a%20b%23.rs#L3`,
  );
  expect(sourceAddress("https://gitlab.com/a/b/c", commit, annotation({ path: "a" }))).toBe(
    `https://gitlab.com/a/b/c/-/blob/${commit}/a`,
  );
  expect(sourceAddress("https://git.example.org/a/b", commit, at)).toBeNull();
  expect(sourceAddress("javascript:alert(1)", commit, at)).toBeNull();
  expect(sourceAddress("https://github.com/a/b", "main", at)).toBeNull();
  expect(sourceAddress("https://github.com/a/b", commit, annotation({}))).toBeNull();
});
