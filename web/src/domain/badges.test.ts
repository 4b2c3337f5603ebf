import { describe, expect, it } from "vitest";
import { badgeAddress, badgeMarkdown } from "./badges";

describe("badgeAddress", () => {
  it("names the pipeline only if there is one", () => {
    expect(badgeAddress("https://ci.example.org", "k1", " ")).toBe("https://ci.example.org/api/badge/k1.svg");
    expect(badgeAddress("https://ci.example.org", "k1", "a b&c")).toBe(
      "https://ci.example.org/api/badge/k1.svg?pipeline=a%20b%26c",
    );
  });
});

describe("badgeMarkdown", () => {
  it("links to the executions of the repository, whatever is in its name", () => {
    const image = badgeAddress("https://ci.example.org", "k1", "build (arm)");
    expect(badgeMarkdown(image, "https://ci.example.org", "https://git.example.org/a(b).git")).toBe(
      "[![build](https://ci.example.org/api/badge/k1.svg?pipeline=build%20%28arm%29)]" +
        "(https://ci.example.org/executions?repo=https%3A%2F%2Fgit.example.org%2Fa%28b%29.git)",
    );
  });
});
