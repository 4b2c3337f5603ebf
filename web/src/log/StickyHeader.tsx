import type { JSX } from "preact";
import { formatDuration } from "../domain/duration";
import type { LogPane } from "./pane";
import { kindText } from "./row";

/** The command or group that the lines in view belong to. */
export function StickyHeader({ pane }: { pane: LogPane }): JSX.Element | null {
  const section = pane.current;
  if (section === null) return null;
  const isFailed = section.exitCode !== null && section.exitCode !== 0;
  return (
    <button
      type="button"
      class="log-sticky"
      title={`${kindText(section)}: go to its start`}
      onClick={() => pane.showLine(section.header, "start")}
    >
      <span class="log-sticky-title">
        {section.kind === "command" && "$ "}
        {section.title}
      </span>
      {isFailed && <span class="log-state failed">✗ exit code {section.exitCode}</span>}
      {section.exitCode === 0 && <span class="log-state">✓</span>}
      {section.durationMs !== null && (
        <span class="log-state number">{formatDuration(section.durationMs)}</span>
      )}
    </button>
  );
}
