// What can be started in a repository: the pipelines that ran there, and their branches.
import type { Overview } from "../api/types";

type Repositories = Overview["repositories"];

/** A pipeline with the newest execution of it that is known. */
export interface KnownPipeline {
  readonly name: string;
  readonly executionId: string;
}

/** The pipelines of a repository, those of its default branch first. */
export function knownPipelines(repositories: Repositories, repo: string): KnownPipeline[] {
  const known = new Map<string, string>();
  for (const one of repositories.filter((other) => other.repo === repo))
    for (const { pipeline_name: name, id } of [...one.of_default_branch, ...one.recent])
      if (!known.has(name)) known.set(name, id);
  return [...known].map(([name, executionId]) => ({ name, executionId }));
}

/** The branches of a repository on which something ran, the default branch first. */
export function knownBranches(repositories: Repositories, repo: string): string[] {
  const of = repositories.filter((other) => other.repo === repo);
  const branches = of.flatMap((one) => [one.default_branch, ...one.recent.map((recent) => recent.branch)]);
  return [...new Set(branches.filter((branch) => branch != null))];
}
