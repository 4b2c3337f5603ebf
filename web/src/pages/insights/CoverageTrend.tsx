import type { JSX } from "preact";
import type { Insights } from "../../api/types";
import { trend } from "../../domain/insight";

type Coverage = NonNullable<Insights["pipelines"][number]["coverage"]>;

const [WIDTH, HEIGHT, EDGE] = [600, 56, 6];

/** The line coverage by day. */
export function CoverageTrend({
  from,
  days,
  coverage,
}: {
  from: string;
  days: number;
  coverage: Coverage;
}): JSX.Element | null {
  const points = trend(from, days, coverage);
  const [first, last] = [points[0], points[points.length - 1]];
  if (first === undefined || last === undefined) return null;
  const place = (point: { x: number; y: number }): string =>
    `${EDGE + point.x * (WIDTH - 2 * EDGE)} ${HEIGHT - EDGE - point.y * (HEIGHT - 2 * EDGE)}`;
  const change = last.percent - first.percent;
  const text =
    points.length === 1
      ? `Coverage ${last.percent} %`
      : `Coverage ${last.percent} %, ${change >= 0 ? "+" : "−"}${Math.abs(change).toFixed(1)} since ${new Date(first.day).toLocaleDateString(undefined, { month: "short", day: "numeric", timeZone: "UTC" })}`;
  return (
    <figure class="coverage-trend">
      <figcaption>{text}</figcaption>
      {points.length > 1 && (
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          <path d={`M${points.map(place).join("L")}`} />
        </svg>
      )}
    </figure>
  );
}
