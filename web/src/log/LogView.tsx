// The log of one attempt of a job.
import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { JobView } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { asApiError } from "../components/useLive";
import { formatBytes, formatCount } from "../domain/duration";
import { hasEnded, jobExplanation } from "../domain/status";
import { onKey } from "../shell/keys";
import { LogControls } from "./LogControls";
import { LogSearch } from "./LogSearch";
import { StickyHeader } from "./StickyHeader";
import { handleKey } from "./keys";
import "./log.css";
import { loadOptions, storeOptions, type LogOptions } from "./options";
import { LogPane, selectionText, type PaneJob } from "./pane";
import { parseRange } from "./range";
import { apiSource } from "./source";

export interface LogViewProps {
  /** The job, as of now; the log is read anew when its id or the attempt changes. */
  readonly job: JobView;
  /** The attempt, from 1; 0: the job has not started. */
  readonly attempt: number;
  /** The selected lines of the address: `L12`, `L12-L20`, or empty. */
  readonly lines: string;
  /** Puts selected lines into the address. */
  readonly onLines: (lines: string) => void;
}

export function LogView(props: LogViewProps): JSX.Element {
  const { job, attempt } = props;
  const isCarried = job.carried_from != null;
  if (attempt < 1 && !isCarried) return <NotStarted job={job} />;
  return <StartedLog key={`${job.id} ${attempt}`} {...props} />;
}

/** What is shown of a job before its first attempt; the log begins by itself. */
function NotStarted({ job }: { job: JobView }): JSX.Element {
  const ended = hasEnded(job.status);
  return (
    <section class="log log-empty" aria-label={`Log of ${job.job_name}`} role="status">
      <p>
        <strong>{ended ? "The job did not run." : "The job has not started."}</strong> {jobExplanation(job)}
      </p>
      {!ended && <p class="soft">The log appears here when it starts.</p>}
    </section>
  );
}

/** What the log needs to know of its attempt: steps and state are those of the last one. */
function paneJob(job: JobView, attempt: number): PaneJob {
  const isLast = job.carried_from != null || attempt >= job.attempt;
  const earlier = job.attempts.find((one) => one.attempt === attempt);
  const start = isLast ? job.start_time : earlier?.started_at;
  return {
    steps: isLast ? job.steps : [],
    hasFailed: isLast ? job.status === "FAILED" : earlier?.failure != null,
    hasEnded: !isLast || hasEnded(job.status),
    startMs: start == null ? null : Date.parse(start),
  };
}

function StartedLog({ job, attempt, lines, onLines }: LogViewProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const searchBox = useRef<HTMLInputElement>(null);
  const [pane, setPane] = useState<LogPane | null>(null);
  const [options, setOptions] = useState<LogOptions>(loadOptions);
  const [isSearching, setSearching] = useState(false);
  const [, setTurn] = useState(0);
  const state = useMemo(() => paneJob(job, attempt), [job, attempt]);
  const latest = useRef({ state, options, onLines, lines, job });
  latest.current = { state, options, onLines, lines, job };

  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const now = latest.current;
    const isLast = now.job.carried_from != null || attempt >= now.job.attempt;
    const made = new LogPane(element, apiSource(now.job.id, attempt), now.state, now.options, {
      onChange: () => setTurn((turn) => turn + 1),
      onSelect: (range) => latest.current.onLines(selectionText(range)),
    });
    setPane(made);
    made.start(isLast ? now.job.log_bytes : null);
    return () => made.destroy();
  }, [job.id, attempt]);

  useEffect(() => pane?.setJob(state), [pane, state]);
  useEffect(() => {
    storeOptions(options);
    pane?.setOptions(options);
  }, [pane, options]);
  useEffect(() => {
    const range = parseRange(lines);
    if (pane !== null && range !== null && lines !== selectionText(pane.selection)) void pane.open(range);
  }, [pane, lines]);

  // Also while the focus is elsewhere on the page.
  useEffect(
    () =>
      onKey("/", () => {
        setSearching(true);
        searchBox.current?.select();
      }),
    [],
  );

  const openSearch = (): void => {
    setSearching(true);
    searchBox.current?.select();
  };
  const closeSearch = (): void => {
    setSearching(false);
    pane?.search.set({ ...pane.search.query, text: "" });
    scroller.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (pane !== null && handleKey(event, pane, { options, setOptions, openSearch, closeSearch }))
      event.preventDefault();
  };
  const onClick = (event: MouseEvent): void => {
    if (pane !== null && event.target instanceof Element && pane.clicked(event.target, event.shiftKey))
      event.preventDefault();
  };
  const error = pane?.loader.error ?? null;
  const classes = ["log", options.hasNumbers ? "" : "no-numbers", options.wraps ? "wraps" : ""];
  return (
    <section
      class={classes.join(" ")}
      data-attempt={attempt}
      aria-label={`Log of ${job.job_name}`}
      onKeyDown={onKeyDown}
    >
      <LogControls
        job={job}
        attempt={attempt}
        pane={pane}
        options={options}
        onOptions={setOptions}
        onSearch={openSearch}
      />
      {isSearching && pane !== null && (
        <LogSearch search={pane.search} input={searchBox} onClose={closeSearch} />
      )}
      {error !== null && <ErrorNote error={asApiError(error)} />}
      <div class="log-frame">
        {pane !== null && <StickyHeader pane={pane} />}
        <div
          ref={scroller}
          class="log-scroller"
          role="log"
          aria-live="off"
          aria-label={`Output of ${job.job_name}`}
          tabIndex={0}
          onClick={onClick}
        />
        {pane !== null && <EmptyNote pane={pane} isRunning={!state.hasEnded} />}
      </div>
      <div class="log-status">
        <span role="status">{pane !== null && statusText(pane, state)}</span>
        {pane !== null && <MissingNote pane={pane} onLoad={() => scroller.current?.focus()} />}
      </div>
    </section>
  );
}

function EmptyNote({ pane, isRunning }: { pane: LogPane; isRunning: boolean }): JSX.Element | null {
  if (pane.document.size > 0 || pane.loader.error !== null || pane.loader.state === "loading") return null;
  return <p class="log-nothing soft">{isRunning ? "Nothing is printed yet." : "The job printed nothing."}</p>;
}

/** What of the log is not loaded. */
function MissingNote({ pane, onLoad }: { pane: LogPane; onLoad: () => void }): JSX.Element | null {
  const { missing } = pane;
  if (missing === 0) return null;
  return (
    <span>
      {formatBytes(missing)} of {formatBytes(pane.document.size)} are not loaded.{" "}
      {pane.isLoadingAll ? (
        "Loading…"
      ) : (
        <button
          type="button"
          class="link"
          onClick={() => {
            pane.loadAll();
            onLoad();
          }}
        >
          Load all
        </button>
      )}
    </span>
  );
}

function statusText(pane: LogPane, state: PaneJob): string {
  if (pane.loader.state === "loading") return "Loading…";
  if (pane.loader.state === "ended" || state.hasEnded) {
    const { lineCount, contiguous, blockCount } = pane.document;
    return contiguous < blockCount ? "" : `${formatCount(lineCount)} lines`;
  }
  return pane.isFollowing ? "Running; new lines are followed." : "Running.";
}
