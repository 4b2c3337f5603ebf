// The graph of an execution: jobs by stage with their needs, matrices folded, and the critical path.
import type { ExecutionView, JobView } from "../api/types";
import { byAttention, jobTone, type Tone } from "./status";

/** Times of one transition may differ by this. */
const CLOCK_SLACK_MS = 50;

/** Larger graphs keep all lines: what follows from others takes quadratic time to find. */
const MAX_REDUCED = 500;

export interface JobGroup {
  readonly id: string;
  readonly name: string;
  readonly stage: string;
  readonly jobs: readonly JobView[];
  /** The status that needs the most attention. */
  readonly tone: Tone;
}

/** The name of a job without the values of its matrix: `unit` of `unit [os=debian]` and of `unit 2/5`. */
export function baseName(jobName: string): string {
  return jobName.replace(/ \[[^[\]]*\]$| \d+\/\d+$/, "");
}

/** The jobs of a plan with the variants of a matrix together, in the plan's order. */
export function groupJobs(jobs: readonly JobView[]): JobGroup[] {
  const groups = new Map<string, JobView[]>();
  for (const job of jobs) {
    const id = JSON.stringify([job.stage, baseName(job.job_name)]);
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [job]);
    else group.push(job);
  }
  return [...groups].map(([id, members]) => {
    const first = members[0];
    const name = members.length === 1 ? (first?.job_name ?? "") : baseName(first?.job_name ?? "");
    const [worst] = byAttention(members);
    return {
      id,
      name,
      stage: first?.stage ?? "",
      jobs: members,
      tone: worst === undefined ? "pending" : jobTone(worst),
    };
  });
}

export interface GraphNode {
  readonly group: JobGroup;
  readonly column: number;
  readonly row: number;
  readonly critical: boolean;
  /** Whether it waits for the stages before rather than for named jobs. */
  readonly waitsForStage: boolean;
}

export interface GraphEdge {
  readonly from: GraphNode;
  readonly to: GraphNode;
  readonly critical: boolean;
}

export interface StageColumns {
  readonly stage: string;
  readonly first: number;
  readonly count: number;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  readonly stages: readonly StageColumns[];
  readonly columns: number;
  readonly rows: number;
}

type Links = ReadonlyMap<string, ReadonlySet<string>>;

/** For each group, the groups that it waits for. */
function groupLinks(groups: readonly JobGroup[]): Links {
  const groupOf = new Map<string, string>();
  for (const group of groups) for (const job of group.jobs) groupOf.set(job.job_name, group.id);
  const links = new Map<string, Set<string>>();
  for (const group of groups) {
    const needs = new Set<string>();
    for (const need of new Set(group.jobs.flatMap((job) => job.needs))) {
      const id = groupOf.get(need);
      if (id !== undefined && id !== group.id) needs.add(id);
    }
    links.set(group.id, needs);
  }
  return links;
}

/** Removes the links that follow from others: that to `a` where `b` is needed, which needs `a`. */
export function reduceLinks(links: Links): Links {
  if (links.size > MAX_REDUCED) return links;
  const reach = new Map<string, Set<string>>();
  const reachOf = (id: string): Set<string> => {
    const known = reach.get(id);
    if (known !== undefined) return known;
    const all = new Set<string>();
    reach.set(id, all);
    for (const need of links.get(id) ?? []) {
      all.add(need);
      for (const further of reachOf(need)) all.add(further);
    }
    return all;
  };
  const reduced = new Map<string, Set<string>>();
  for (const [id, needs] of links) {
    const indirect = new Set<string>();
    for (const need of needs) for (const further of reachOf(need)) indirect.add(further);
    reduced.set(id, new Set([...needs].filter((need) => !indirect.has(need))));
  }
  return reduced;
}

function depthInStage(
  group: JobGroup,
  byId: ReadonlyMap<string, JobGroup>,
  links: Links,
  known: Map<string, number>,
): number {
  const before = known.get(group.id);
  if (before !== undefined) return before;
  known.set(group.id, 0);
  let depth = 0;
  for (const need of links.get(group.id) ?? []) {
    const needed = byId.get(need);
    if (needed?.stage === group.stage) depth = Math.max(depth, depthInStage(needed, byId, links, known) + 1);
  }
  known.set(group.id, depth);
  return depth;
}

/**
 * The jobs of earlier stages, if the job waits for these. The API names needs only; a job that was queued before an
 * earlier stage ended has none.
 */
function stageNeeds(job: JobView, view: Pick<ExecutionView, "stages" | "jobs">): JobView[] {
  if (job.needs.length > 0) return [];
  const before = view.stages.slice(0, Math.max(0, view.stages.indexOf(job.stage)));
  const needed = view.jobs.filter((one) => before.includes(one.stage));
  const queued = job.queued_at == null ? Number.POSITIVE_INFINITY : Date.parse(job.queued_at);
  return needed.every((one) => one.end_time != null && Date.parse(one.end_time) <= queued + CLOCK_SLACK_MS) ||
    job.queued_at == null
    ? needed
    : [];
}

/** Lays the groups out: a stage has one column, or several where its jobs need each other. */
export function layOut(view: ExecutionView, critical: ReadonlySet<string>): Graph {
  const groups = groupJobs(view.jobs);
  const byId = new Map(groups.map((group) => [group.id, group]));
  const links = groupLinks(groups);
  const depths = new Map<string, number>();
  const filled = new Map<number, number>();
  const nodes = new Map<string, GraphNode>();
  const stages: StageColumns[] = [];
  let base = 0;
  for (const stage of view.stages) {
    const members = groups.filter((group) => group.stage === stage);
    if (members.length === 0) continue;
    let count = 1;
    for (const group of members) {
      const depth = depthInStage(group, byId, links, depths);
      const column = base + depth;
      const row = filled.get(column) ?? 0;
      filled.set(column, row + 1);
      count = Math.max(count, depth + 1);
      nodes.set(group.id, {
        group,
        column,
        row,
        critical: group.jobs.some((job) => critical.has(job.id)),
        waitsForStage: base > 0 && group.jobs.every((job) => stageNeeds(job, view).length > 0),
      });
    }
    stages.push({ stage, first: base, count });
    base += count;
  }
  const edges: GraphEdge[] = [];
  for (const [id, needs] of reduceLinks(links)) {
    for (const need of needs) {
      const from = nodes.get(need);
      const to = nodes.get(id);
      if (from !== undefined && to !== undefined)
        edges.push({ from, to, critical: from.critical && to.critical });
    }
  }
  return { nodes: [...nodes.values()], edges, stages, columns: base, rows: Math.max(0, ...filled.values()) };
}

function endOf(job: JobView, now: number): number | null {
  if (job.start_time == null || job.carried_from != null) return null;
  return job.end_time == null ? now : Date.parse(job.end_time);
}

/** The ids of the jobs that decided how long the execution took: from the last to end, each time the need that ended last. */
export function criticalPath(view: Pick<ExecutionView, "stages" | "jobs">, now: number): Set<string> {
  const { jobs } = view;
  const byName = new Map(jobs.map((job) => [job.job_name, job]));
  const path = new Set<string>();
  const latest = (candidates: readonly JobView[]): JobView | undefined => {
    let best: JobView | undefined;
    let bestEnd = Number.NEGATIVE_INFINITY;
    for (const job of candidates) {
      const end = endOf(job, now);
      if (end !== null && end > bestEnd && !path.has(job.id)) [best, bestEnd] = [job, end];
    }
    return best;
  };
  let at = latest(jobs);
  while (at !== undefined) {
    path.add(at.id);
    const needs = at.needs.map((name) => byName.get(name)).filter((job) => job !== undefined);
    at = latest(needs.length > 0 ? needs : stageNeeds(at, view));
  }
  return path;
}
