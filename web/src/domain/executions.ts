// Lists of executions: filters and pages.
import { PIPELINES_ONLY } from "../api/first_list";
import type { ExecutionStatus, ExecutionSummary, ListQuery, Trigger } from "../api/types";
import { TRIGGER_TEXTS } from "./names";

/** What a list shows. */
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

/** What looks like the beginning of a commit is searched as one. */
const COMMIT = /^[0-9a-f]{5,64}$/;

/** The query of a filter. */
export function listQuery(filter: ExecutionFilter): ListQuery {
  const { status, event, internal, text } = filter;
  const query: ListQuery = {};
  for (const name of ["repo", "pipeline", "branch", "author"] as const)
    if (filter[name] !== "") query[name] = filter[name];
  const knownStatus = STATUSES.find((one) => one === status);
  if (knownStatus !== undefined) query.status = knownStatus;
  if (event in TRIGGER_TEXTS) query.event = event as Trigger;
  if (internal === "") Object.assign(query, PIPELINES_ONLY);
  const search = text.trim();
  if (COMMIT.test(search)) query.commit = search;
  else if (search !== "") query.text = search;
  return query;
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

/** The executions that are known, with where older ones continue. */
export interface ExecutionPart {
  readonly executions: readonly ExecutionSummary[];
  readonly cursor: string | null;
}

/**
 * Adds the newest version of the first page. What is not in the page although it is within its range does not match
 * any more. If the page has nothing in common with what is known, executions between may be missing: then only the
 * page is kept.
 */
export function mergeFirstPage(old: ExecutionPart, page: ExecutionPart): ExecutionPart {
  const last = page.executions[page.executions.length - 1];
  const ids = new Set(page.executions.map((one) => one.id));
  const overlaps = old.executions.some((one) => ids.has(one.id));
  if (page.cursor === null || last === undefined || !overlaps) return page;
  const older = old.executions.filter((one) => one.id < last.id);
  return { executions: mergeExecutions(older, page.executions), cursor: old.cursor };
}
