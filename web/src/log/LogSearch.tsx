import type { JSX, RefObject } from "preact";
import { useEffect } from "preact/hooks";
import { formatBytes, formatCount } from "../domain/duration";
import type { PaneSearch } from "./pane_search";

interface LogSearchProps {
  readonly search: PaneSearch;
  readonly input: RefObject<HTMLInputElement | null>;
  readonly onClose: () => void;
}

/** Search in the log. */
export function LogSearch({ search, input, onClose }: LogSearchProps): JSX.Element {
  const { query } = search;
  useEffect(() => input.current?.select(), [input]);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "Enter") search.next(!event.shiftKey);
    else if (event.key === "Escape") onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const toggle = (name: "isRegex" | "matchesCase", label: string, text: string): JSX.Element => (
    <button
      type="button"
      class="small"
      aria-pressed={query[name]}
      aria-label={label}
      title={label}
      onClick={() => search.set({ ...query, [name]: !query[name] })}
    >
      {text}
    </button>
  );
  return (
    <div class="log-search" role="search" aria-label="Search in the log">
      <input
        ref={input}
        type="search"
        aria-label="Search in the log"
        placeholder="Search in the log"
        value={query.text}
        maxLength={500}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => search.set({ ...query, text: event.currentTarget.value })}
        onKeyDown={onKeyDown}
      />
      {toggle("matchesCase", "Match case", "Aa")}
      {toggle("isRegex", "Regular expression", ".*")}
      <button
        type="button"
        class="small"
        aria-label="Previous match"
        title="Previous match (Shift+Enter)"
        onClick={() => search.next(false)}
      >
        ↑
      </button>
      <button
        type="button"
        class="small"
        aria-label="Next match"
        title="Next match (Enter)"
        onClick={() => search.next(true)}
      >
        ↓
      </button>
      <span class="log-count" role="status">
        {countText(search)}
      </span>
      {search.unread > 0 && !search.isBusy && query.text !== "" && (
        <button type="button" class="small" onClick={() => search.searchAll()}>
          Search the other {formatBytes(search.unread)}
        </button>
      )}
      <button type="button" class="small" aria-label="Close the search" onClick={onClose}>
        ×
      </button>
    </div>
  );
}

function countText(search: PaneSearch): string {
  if (search.error !== null) return search.error;
  const { progress } = search;
  if (progress === null) return "";
  const matches = `${formatCount(progress.matches)}${progress.isCut ? "+" : ""}`;
  const share = progress.blocks === 0 ? 100 : Math.floor((progress.searched / progress.blocks) * 100);
  const busy = search.isBusy ? ` · ${share} % searched` : "";
  if (progress.matches === 0) return `No line${search.isBusy ? " yet" : ""}${busy}`;
  return `${search.position === 0 ? "" : `${formatCount(search.position)} of `}${matches} lines${busy}`;
}
