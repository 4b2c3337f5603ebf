// Statistics of pipelines.
import type { Insights } from "../api/types";

type Day = Insights["pipelines"][number]["by_day"][number];
type Counts = Day["counts"];

const DAY_MS = 86_400_000;

/** `12 %` of what was not canceled. */
export function failureRate(counts: Pick<Counts, "count" | "failed" | "canceled">): string {
  const ended = counts.count - counts.canceled;
  return ended <= 0 ? "–" : `${Math.round((100 * counts.failed) / ended)} %`;
}

/** All days of a time, with those on which nothing ended. */
export function fillDays(
  from: string,
  days: number,
  byDay: readonly Day[],
): { day: number; counts: Counts | null }[] {
  const known = new Map(byDay.map((one) => [Math.floor(Date.parse(one.day) / DAY_MS), one.counts]));
  const first = Math.floor(Date.parse(from) / DAY_MS);
  return Array.from({ length: days }, (_, at) => ({
    day: (first + at) * DAY_MS,
    counts: known.get(first + at) ?? null,
  }));
}
