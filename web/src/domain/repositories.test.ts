import { describe, expect, it } from "vitest";
import { EMPTY_REPOSITORY, providerOf, repositoryRequest } from "./repositories";

describe("providerOf", () => {
  it("follows the name of the host", () => {
    const named = {
      "https://github.com/a/b.git": "github",
      "https://gitlab.example.org/github/b": "gitlab",
      "git@gitea.example.org:a/gitlab.git": "gitea",
      "ssh://git@bitbucket.org/a/b.git": "bitbucket",
      "https://codeberg.org/a/b": "gitea",
      "https://github:secret@git.example.org/a": "github",
      "": "github",
    };
    for (const [url, provider] of Object.entries(named)) expect(providerOf(url), url).toBe(provider);
  });
});

describe("repositoryRequest", () => {
  it("sends what was filled in only, so that nothing stored is removed", () => {
    expect(repositoryRequest({ ...EMPTY_REPOSITORY, url: " https://gitlab.com/a/b.git " })).toEqual({
      url: "https://gitlab.com/a/b.git",
      provider: "gitlab",
    });
  });

  it("has the tokens as they are, and the chosen provider", () => {
    const form = {
      url: "https://git.example.org/a/b",
      provider: "gitea" as const,
      defaultBranch: " main ",
      statusToken: "s ",
      user: " ci ",
      token: " t",
      readers: "anyone" as const,
    };
    expect(repositoryRequest(form)).toEqual({
      url: "https://git.example.org/a/b",
      provider: "gitea",
      public: true,
      default_branch: "main",
      status_token: "s ",
      credential: { set: { kind: "token", user: "ci", token: " t" } },
    });
  });
});
