// When each job waited, was prepared and ran.
import type { JobView } from "../api/types";

export type SpanKind = "waiting" | "preparing" | "running" | "failed-attempt";

export interface Span {
  readonly kind: SpanKind;
  /** In milliseconds since the epoch. */
  readonly start: number;
  readonly end: number;
}

export interface WaterfallRow {
  readonly job: JobView;
  readonly spans: readonly Span[];
}

export interface Waterfall {
  readonly rows: readonly WaterfallRow[];
  /** The jobs that were never queued, and may still be. */
  readonly waiting: readonly JobView[];
  readonly start: number;
  readonly end: number;
}

const SCRIPT_PHASES = ["running", "collecting artifacts"];

/** How the last attempt is split: what its commands took is the script's, what comes before is preparation. */
function splitAttempt(job: JobView, start: number, end: number): Span[] {
  const timed = job.steps.filter((step) => step.duration_ms != null);
  const script = timed.reduce((sum, step) => sum + (step.duration_ms ?? 0), 0);
  if (job.status === "RUNNING") {
    const prepares = job.phase != null && !SCRIPT_PHASES.includes(job.phase);
    return [{ kind: prepares ? "preparing" : "running", start, end }];
  }
  if (timed.length === 0 || script >= end - start) return [{ kind: "running", start, end }];
  const begin = end - script;
  return [
    { kind: "preparing", start, end: begin },
    { kind: "running", start: begin, end },
  ];
}

export function jobSpans(job: JobView, now: number): Span[] {
  if (job.carried_from != null) return [];
  const spans: Span[] = [];
  const time = (text: string | null | undefined): number | null => (text == null ? null : Date.parse(text));
  const start = time(job.start_time);
  let since = time(job.queued_at);
  const wait = (until: number): void => {
    if (since !== null && until > since) spans.push({ kind: "waiting", start: since, end: until });
  };
  for (const attempt of job.attempts) {
    const [began, ended] = [Date.parse(attempt.started_at), Date.parse(attempt.ended_at)];
    wait(began);
    spans.push({ kind: "failed-attempt", start: began, end: ended });
    since = ended;
  }
  if (start === null || (job.status === "QUEUED" && since !== null && start < since)) {
    if (job.status === "QUEUED") wait(now);
    return spans;
  }
  wait(start);
  const end = job.end_time == null ? now : Date.parse(job.end_time);
  return [...spans, ...splitAttempt(job, start, Math.max(start, end))];
}

export function waterfall(jobs: readonly JobView[], now: number): Waterfall {
  const rows = jobs.map((job) => ({ job, spans: jobSpans(job, now) })).filter((row) => row.spans.length > 0);
  const spans = rows.flatMap((row) => row.spans);
  const begin = (row: WaterfallRow): number => row.spans[0]?.start ?? 0;
  return {
    waiting: jobs.filter((job) => job.status === "PENDING" && job.attempts.length === 0),
    rows: rows.sort((a, b) => begin(a) - begin(b)),
    start: spans.reduce((least, span) => Math.min(least, span.start), Number.POSITIVE_INFINITY),
    end: spans.reduce((most, span) => Math.max(most, span.end), 0),
  };
}

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/** Marks of the axis in milliseconds from the start: at most about `count` of them. */
export function axisMarks(length: number, count: number): number[] {
  const step =
    (STEPS_S.find((one) => length / (one * 1000) <= count) ??
      Math.ceil(length / count / 86_400_000) * 86_400) * 1000;
  const marks: number[] = [];
  for (let at = 0; at <= length; at += step) marks.push(at);
  return marks;
}
