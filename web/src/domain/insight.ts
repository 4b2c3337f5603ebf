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

/** `$1.24`, or `$0.0031` of small amounts. */
export function formatDollars(amount: number): string {
  return `$${amount.toFixed(amount >= 0.1 || amount === 0 ? 2 : 4)}`;
}

/** The pipelines with this one first. */
export function startingWith<Of extends { readonly pipeline_name: string }>(
  pipelines: readonly Of[],
  first: string | null,
): Of[] {
  const isFirst = (one: Of): boolean => one.pipeline_name === first;
  return [...pipelines.filter(isFirst), ...pipelines.filter((one) => !isFirst(one))];
}

interface TrendPoint {
  readonly day: number;
  readonly percent: number;
  /** Place in the time, from 0 to 1. */
  readonly x: number;
  /** Place between the lowest and the highest value, from 0 to 1. */
  readonly y: number;
}

/** The points of a trend, scaled to its lowest and highest value. */
export function trend(
  from: string,
  days: number,
  values: readonly { readonly day: string; readonly percent: number }[],
): TrendPoint[] {
  const first = Math.floor(Date.parse(from) / DAY_MS);
  const all = values.map((one) => one.percent);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  return values.map(({ day, percent }) => {
    const at = Math.floor(Date.parse(day) / DAY_MS);
    return {
      day: at * DAY_MS,
      percent,
      x: days <= 1 ? 0.5 : (at - first) / (days - 1),
      y: high === low ? 0.5 : (percent - low) / (high - low),
    };
  });
}
