import type { JSX } from "preact";
import type { Insights } from "../../api/types";
import { formatDuration } from "../../domain/duration";
import { fillDays } from "../../domain/insight";

/** The executions of each day: how many failed, and the median duration. */
export function DayBars({
  from,
  days,
  byDay,
}: {
  from: string;
  days: number;
  byDay: Insights["pipelines"][number]["by_day"];
}): JSX.Element {
  const filled = fillDays(from, days, byDay);
  const most = Math.max(1, ...filled.map((one) => one.counts?.count ?? 0));
  return (
    <ol class="day-bars" aria-label="Executions by day">
      {filled.map(({ day, counts }) => {
        const date = new Date(day).toLocaleDateString(undefined, {
          month: "short",
          day: "numeric",
          timeZone: "UTC",
        });
        if (counts === null) return <li key={day} title={`${date}: none`} />;
        const median = counts.median_ms == null ? "" : `, median ${formatDuration(counts.median_ms)}`;
        const text = `${date}: ${counts.count} executions, ${counts.failed} failed${median}`;
        return (
          <li key={day} title={text}>
            <span class="hidden-text">{text}</span>
            <span class="failed" style={{ height: `${(100 * counts.failed) / most}%` }} />
            <span class="success" style={{ height: `${(100 * (counts.count - counts.failed)) / most}%` }} />
          </li>
        );
      })}
    </ol>
  );
}
