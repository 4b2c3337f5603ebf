// Registrations of repositories.
import type { Body } from "../api/client";
import type { GitProvider } from "../api/types";

export const PROVIDERS: readonly { readonly provider: GitProvider; readonly text: string }[] = [
  { provider: "github", text: "GitHub" },
  { provider: "gitlab", text: "GitLab" },
  { provider: "gitea", text: "Gitea or Forgejo" },
  { provider: "bitbucket", text: "Bitbucket" },
];

/** What a form says of a repository. An empty text leaves the setting as it is, or without a value. */
export interface RepositoryForm {
  readonly url: string;
  /** `null`: as the address suggests. */
  readonly provider: GitProvider | null;
  readonly defaultBranch: string;
  readonly statusToken: string;
  readonly user: string;
  readonly token: string;
  /** Who may read its executions and logs; empty: as it is, or who has a token. */
  readonly readers: "" | "anyone" | "token";
}

export const EMPTY_REPOSITORY: RepositoryForm = {
  url: "",
  provider: null,
  defaultBranch: "",
  statusToken: "",
  user: "",
  token: "",
  readers: "",
};

/** The provider that the host of an address is named after; others are most often GitHub Enterprise’s, or of one’s own. */
export function providerOf(url: string): GitProvider {
  const host = /^(?:[a-z+]+:\/\/)?(?:[^@/]*@)?([^:/]+)/i.exec(url.trim())?.[1]?.toLowerCase() ?? "";
  const named = PROVIDERS.find(({ provider }) => host.includes(provider));
  if (named !== undefined) return named.provider;
  return /codeberg|forgejo/.test(host) ? "gitea" : "github";
}

/** The request that registers the repository of a form. */
export function repositoryRequest(form: RepositoryForm): Body<"/api/repository", "put"> {
  const url = form.url.trim();
  const branch = form.defaultBranch.trim();
  return {
    url,
    provider: form.provider ?? providerOf(url),
    ...(form.readers === "" ? {} : { public: form.readers === "anyone" }),
    ...(branch === "" ? {} : { default_branch: branch }),
    ...(form.statusToken === "" ? {} : { status_token: form.statusToken }),
    ...(form.token === ""
      ? {}
      : { credential: { set: { kind: "token" as const, user: form.user.trim(), token: form.token } } }),
  };
}
