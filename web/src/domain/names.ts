// Short forms of repositories, commits and people.
import type { PinnedInclude, Trigger } from "../api/types";

/** `owner/name` of a repository's address. */
export function shortRepo(repo: string): string {
  const parts = repo
    .replace(/^[a-z+]+:\/\//, "")
    .replace(/\.git$/, "")
    .split(/[/:]/)
    .filter((part) => part !== "");
  return parts.length <= 2 ? parts.join("/") : parts.slice(-2).join("/");
}

export function shortCommit(commit: string): string {
  return commit.slice(0, 8);
}

/** The name in `Name <address>`. */
export function authorName(author: string): string {
  return author.replace(/\s*<[^>]*>\s*$/, "") || author;
}

/** A file from elsewhere, with the version that was used. */
export function includeText(include: PinnedInclude): string {
  switch (include.kind) {
    case "git":
      return `${shortRepo(include.url)}: ${include.file} at ${shortCommit(include.commit)}`;
    case "remote":
      return `${include.url}, SHA-256 ${include.sha256.slice(0, 12)}`;
    case "template":
      return `template ${include.name}, SHA-256 ${include.sha256.slice(0, 12)}`;
  }
}

/** What started an execution, as a text. */
export const TRIGGER_TEXTS: Record<Trigger, string> = {
  manual: "by hand",
  retry: "retry",
  push: "push",
  pull_request: "pull request",
  schedule: "schedule",
  parent_pipeline: "parent pipeline",
  merge_group: "merge group",
  release: "release",
  comment: "comment",
  pipeline: "after a pipeline",
};

export function triggerText(trigger: Trigger): string {
  return TRIGGER_TEXTS[trigger];
}
