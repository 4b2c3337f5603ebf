import type { JSX, RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ExecutionSummary } from "../../api/types";
import { type ExecutionFilter, type FilterName, STATUSES } from "../../domain/executions";
import { shortRepo, TRIGGER_TEXTS } from "../../domain/names";
import { executionTone, toneText } from "../../domain/status";
import { setQuery } from "../../router/router";

function values(
  executions: readonly ExecutionSummary[],
  of: (one: ExecutionSummary) => string | null | undefined,
): string[] {
  return [...new Set(executions.map(of).filter((value) => value != null))].sort();
}

function Choice({
  name,
  label,
  value,
  options,
}: {
  name: FilterName;
  label: string;
  value: string;
  options: readonly (readonly [string, string])[];
}): JSX.Element {
  const known = value === "" || options.some(([option]) => option === value);
  return (
    <select
      aria-label={label}
      class={value === "" ? "" : "chosen"}
      value={value}
      onChange={(event) => setQuery({ [name]: event.currentTarget.value })}
    >
      <option value="">{label}: any</option>
      {!known && <option value={value}>{value}</option>}
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {text}
        </option>
      ))}
    </select>
  );
}

const TYPING_PAUSE_MS = 250;

function SearchField({
  value,
  field,
}: {
  value: string;
  field: RefObject<HTMLInputElement | null>;
}): JSX.Element {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => setQuery({ text }), TYPING_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value]);
  return (
    <input
      ref={field}
      type="search"
      aria-label="Search commit messages and commits"
      placeholder="Commit message or commit…"
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
    />
  );
}

const plain = (value: string): readonly [string, string] => [value, value];

/** The filters of the list; they are in the page's address. */
export function FilterBar({
  filter,
  executions,
  search,
}: {
  filter: ExecutionFilter;
  executions: readonly ExecutionSummary[];
  search: RefObject<HTMLInputElement | null>;
}): JSX.Element {
  const active = Object.values(filter).some((value: string) => value !== "");
  const repos = values(executions, (one) => one.repo).map((repo) => [repo, shortRepo(repo)] as const);
  return (
    <form
      class="filter-bar"
      role="search"
      aria-label="Executions"
      onSubmit={(event) => event.preventDefault()}
    >
      <SearchField value={filter.text} field={search} />
      <Choice name="repo" label="Repository" value={filter.repo} options={repos} />
      <Choice
        name="pipeline"
        label="Pipeline"
        value={filter.pipeline}
        options={values(executions, (one) => one.pipeline_name).map(plain)}
      />
      <Choice
        name="branch"
        label="Branch"
        value={filter.branch}
        options={values(executions, (one) => one.branch).map(plain)}
      />
      <Choice
        name="status"
        label="Status"
        value={filter.status}
        options={STATUSES.map((status) => [status, toneText(executionTone(status))] as const)}
      />
      <Choice name="event" label="Event" value={filter.event} options={Object.entries(TRIGGER_TEXTS)} />
      <Choice
        name="author"
        label="Author"
        value={filter.author}
        options={values(executions, (one) => one.commit_details?.author).map(plain)}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={filter.internal !== ""}
          onChange={(event) => setQuery({ internal: event.currentTarget.checked ? "yes" : "" })}
        />
        <span>Internal</span>
      </label>
      {active && (
        <button
          type="button"
          class="small"
          onClick={() => setQuery(Object.fromEntries(Object.keys(filter).map((name) => [name, ""])))}
        >
          Clear
        </button>
      )}
    </form>
  );
}
