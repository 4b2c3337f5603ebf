// Lists of executions: merging pages, filtering, and grouping by repository.
import type { ExecutionStatus, ExecutionSummary, Trigger } from "../api/types";
import { matches } from "./search";

/** What a list shows. Some filters the server applies, the others the page. */
export interface ExecutionFilter {
  readonly repo: string;
  readonly pipeline: string;
  readonly branch: string;
  readonly status: string;
  readonly event: string;
  readonly author: string;
  readonly text: string;
  readonly internal: string;
}

export type FilterName = keyof ExecutionFilter;
const NAMES: readonly FilterName[] = [
  "repo",
  "pipeline",
  "branch",
  "status",
  "event",
  "author",
  "text",
  "internal",
];
export const STATUSES: readonly ExecutionStatus[] = ["PENDING", "RUNNING", "SUCCESS", "FAILED", "CANCELED"];

export function readFilter(query: ReadonlyMap<string, string>): ExecutionFilter {
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""])) as Record<FilterName, string>;
}

/** The part of a filter that the server applies. */
export function serverQuery(filter: ExecutionFilter): Record<string, string> {
  const query: Record<string, string> = {};
  for (const name of ["repo", "pipeline", "branch"] as const)
    if (filter[name] !== "") query[name] = filter[name];
  const status = STATUSES.find((one) => one === filter.status);
  if (status !== undefined) query.status = status;
  return query;
}

/** Whether the page shows an execution that the server returned. */
export function passesFilter(execution: ExecutionSummary, filter: ExecutionFilter): boolean {
  if (filter.internal === "" && execution.kind === "discover_pipelines") return false;
  if (filter.event !== "" && execution.trigger !== (filter.event as Trigger)) return false;
  const author = `${execution.commit_details?.author ?? ""} ${execution.requested_by ?? ""}`;
  if (filter.author !== "" && !matches(filter.author, author)) return false;
  return filter.text === "" || matches(filter.text, searchText(execution));
}

function searchText(execution: ExecutionSummary): string {
  const details = execution.commit_details;
  return [
    execution.pipeline_name,
    `#${execution.run_number}`,
    execution.repo,
    execution.branch,
    execution.commit,
    details?.message,
    details?.author,
    execution.requested_by,
  ]
    .filter((part) => part != null)
    .join(" ");
}

/** Adds newer versions to a list; the result is ordered from the newest to the oldest. Ids are ordered by time. */
export function mergeExecutions(
  old: readonly ExecutionSummary[],
  newer: readonly ExecutionSummary[],
): ExecutionSummary[] {
  const byId = new Map(old.map((one) => [one.id, one]));
  for (const one of newer) byId.set(one.id, one);
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0));
}

export interface RepositoryState {
  readonly repo: string;
  readonly branch: string | null;
  /** The newest executions, one for each pipeline of the branch. */
  readonly current: readonly ExecutionSummary[];
  /** The last ones, oldest first. */
  readonly history: readonly ExecutionSummary[];
}

const MAX_HISTORY = 20;
const USUAL_BRANCHES = ["main", "master", "trunk", "develop"];

/** The state of each repository, from its executions, newest first. `defaults` has the known default branches. */
export function repositoryStates(
  executions: readonly ExecutionSummary[],
  defaults: ReadonlyMap<string, string> = new Map(),
): RepositoryState[] {
  const byRepo = new Map<string, ExecutionSummary[]>();
  for (const one of executions) {
    if (one.kind === "discover_pipelines") continue;
    const list = byRepo.get(one.repo);
    if (list === undefined) byRepo.set(one.repo, [one]);
    else list.push(one);
  }
  return [...byRepo].map(([repo, all]) => {
    const branch = defaults.get(repo) ?? guessDefaultBranch(all);
    const ofBranch = all.filter((one) => one.branch === branch);
    const current = new Map<string, ExecutionSummary>();
    for (const one of ofBranch) if (!current.has(one.pipeline_name)) current.set(one.pipeline_name, one);
    return {
      repo,
      branch,
      current: [...current.values()],
      history: ofBranch.slice(0, MAX_HISTORY).reverse(),
    };
  });
}

function guessDefaultBranch(executions: readonly ExecutionSummary[]): string | null {
  const branches = new Set(executions.map((one) => one.branch ?? ""));
  return USUAL_BRANCHES.find((branch) => branches.has(branch)) ?? executions[0]?.branch ?? null;
}
