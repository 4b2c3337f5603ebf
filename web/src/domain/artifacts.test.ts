import { describe, expect, it } from "vitest";
import { fileAddress, fileKind, isShown, matchingFiles } from "./artifacts";

describe("files of artifacts", () => {
  it("are shown by their type, within a size", () => {
    expect(fileKind("coverage/index.HTML")).toBe("page");
    expect(fileKind("a.b/shot.png")).toBe("image");
    expect(fileKind("target/out.log")).toBe("text");
    for (const path of ["html", "dir.txt/program", "a.tar.gz", "", ".png/"])
      expect(fileKind(path)).toBeNull();
    expect(isShown({ path: "a.txt", size: 10 })).toBe(true);
    expect(isShown({ path: "a.txt", size: 1e9 })).toBe(false);
    expect(isShown({ path: "a.bin", size: 10 })).toBe(false);
  });

  it("have an address whatever their path has", () => {
    expect(fileAddress("id", "a b/ü&c?.txt")).toBe("/api/artifact/file/id?path=a%20b%2F%C3%BC%26c%3F.txt");
  });

  it("are found by a part of their path", () => {
    const files = [{ path: "out/Report.html" }, { path: "out/data.bin" }];
    expect(matchingFiles(files, " report ")).toEqual([files[0]]);
    expect(matchingFiles(files, "")).toEqual(files);
  });
});
