import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { JobView } from "../api/types";
import { asApiError } from "../components/useLive";
import { saveLog } from "./download";
import type { LogOptions, TimeMode } from "./options";
import type { LogPane } from "./pane";
import { failedSection, type Section } from "./sections";

/** The maximum number of sections to choose from. */
const MAX_CHOICES = 200;

interface LogControlsProps {
  readonly job: JobView;
  readonly attempt: number;
  readonly pane: LogPane | null;
  readonly options: LogOptions;
  readonly onOptions: (options: LogOptions) => void;
  readonly onSearch: () => void;
}

/** The buttons above the log. */
export function LogControls(props: LogControlsProps): JSX.Element {
  const { job, attempt, pane, options, onOptions, onSearch } = props;
  const [note, setNote] = useState("");
  const sections = pane?.sections ?? [];
  const save = (opens: boolean): void => {
    if (pane === null) return;
    setNote("Reading…");
    saveLog(pane.loader.source, fileName(job, attempt), opens, (text) => setNote(text)).catch(
      (error: unknown) => setNote(asApiError(error).message),
    );
  };
  const error = (isForward: boolean): void => {
    setNote("");
    void pane?.search.nextError(isForward, false).then((found) => {
      if (!found) setNote("No error found in what is loaded.");
    });
  };
  return (
    <div class="log-controls" role="toolbar" aria-label="Log">
      <SectionChoice sections={sections} onChoose={(section) => pane?.showSection(section)} />
      <div class="group">
        {failedSection(sections) !== null && (
          <Button text="Failed command" title="Failed command (x)" onClick={() => pane?.showFailure()} />
        )}
        <Button text="‹" title="Previous error (E)" onClick={() => error(false)} />
        <Button
          text="First error"
          title="First error"
          onClick={() =>
            void pane?.search.nextError(true, true).then((found) => setNote(found ? "" : "No error found."))
          }
        />
        <Button text="›" title="Next error (e)" onClick={() => error(true)} />
      </div>
      <div class="group">
        <Button text="Fold" title="Fold all (-)" onClick={() => pane?.foldAll(true)} />
        <Button text="Unfold" title="Unfold all (+)" onClick={() => pane?.foldAll(false)} />
      </div>
      <span class="log-note" role="status">
        {note}
      </span>
      <div class="group">
        <Toggle
          text="Wrap"
          title="Wrap long lines (w)"
          isOn={options.wraps}
          onClick={() => onOptions({ ...options, wraps: !options.wraps })}
        />
        <Toggle
          text="Numbers"
          title="Line numbers (l)"
          isOn={options.hasNumbers}
          onClick={() => onOptions({ ...options, hasNumbers: !options.hasNumbers })}
        />
        <select
          aria-label="Times of lines"
          title="Times of lines (t)"
          value={options.times}
          onChange={(event) => onOptions({ ...options, times: event.currentTarget.value as TimeMode })}
        >
          <option value="off">No times</option>
          <option value="clock">Time of day</option>
          <option value="since">Since the start</option>
        </select>
      </div>
      <div class="group">
        <Button text="Search" title="Search in the log (/)" onClick={onSearch} />
        <Button text="Raw" title="Raw log as plain text" onClick={() => save(true)} />
        <Button text="Download" title="Download the log" onClick={() => save(false)} />
      </div>
      <div class="group">
        <Button text="⤒" title="Start (g)" onClick={() => pane?.toStart()} />
        <Button text="⤓" title="End (G)" onClick={() => pane?.toEnd()} />
        {pane !== null && pane.loader.state === "following" && (
          <Toggle
            text="Follow"
            title="Follow new lines (f)"
            isOn={pane.isFollowing}
            onClick={() => pane.toEnd()}
          />
        )}
      </div>
    </div>
  );
}

function fileName(job: JobView, attempt: number): string {
  const name = job.job_name.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "");
  return `${name || "job"}-${attempt}.log`;
}

function Button({ text, title, onClick }: { text: string; title: string; onClick: () => void }): JSX.Element {
  return (
    <button
      type="button"
      class="small"
      title={title}
      aria-label={title.replace(/ \(.\)$/, "")}
      onClick={onClick}
    >
      {text}
    </button>
  );
}

interface ToggleProps {
  readonly text: string;
  readonly title: string;
  readonly isOn: boolean;
  readonly onClick: () => void;
}

function Toggle({ text, title, isOn, onClick }: ToggleProps): JSX.Element {
  return (
    <button type="button" class="small" title={title} aria-pressed={isOn} onClick={onClick}>
      {text}
    </button>
  );
}

interface SectionChoiceProps {
  readonly sections: readonly Section[];
  readonly onChoose: (section: Section) => void;
}

/** Goes to a command, or to the log of a service. */
function SectionChoice({ sections, onChoose }: SectionChoiceProps): JSX.Element | null {
  const top = sections.filter((section) => section.depth === 0);
  const services = top.filter((section) => section.kind === "service");
  const commands = top.filter((section) => section.kind === "command").slice(0, MAX_CHOICES);
  if (services.length === 0 && commands.length < 2) return null;
  const choices = [...services, ...commands];
  const option = (section: Section): JSX.Element => (
    <option key={choices.indexOf(section)} value={choices.indexOf(section)}>
      {section.exitCode !== null && section.exitCode !== 0 ? "✗ " : ""}
      {section.title.slice(0, 60)}
    </option>
  );
  return (
    <select
      class="log-jump"
      aria-label="Go to a command or service"
      value=""
      onChange={(event) => {
        const chosen = choices[Number(event.currentTarget.value)];
        event.currentTarget.value = "";
        if (chosen !== undefined) onChoose(chosen);
      }}
    >
      <option value="" disabled>
        Go to…
      </option>
      {services.length > 0 && <optgroup label="Services">{services.map(option)}</optgroup>}
      {commands.length > 0 && <optgroup label="Commands">{commands.map(option)}</optgroup>}
    </select>
  );
}
