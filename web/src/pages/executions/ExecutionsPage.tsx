import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ErrorNote } from "../../components/ErrorNote";
import { ExecutionRow } from "../../components/ExecutionRow";
import { useWindowRows } from "../../components/useWindowRows";
import { readFilter } from "../../domain/executions";
import { address, navigate, to } from "../../router/router";
import { onKey } from "../../shell/keys";
import { useTitle } from "../../shell/title";
import { FilterBar } from "./FilterBar";
import { useExecutionList } from "./useExecutionList";

const ROW_HEIGHT = 60;
const NARROW_ROW_HEIGHT = 92;
const narrow = matchMedia("(max-width: 48rem)");

/** All executions, newest first, with filters. */
export function ExecutionsPage(): JSX.Element {
  useTitle("Executions");
  const query = address.value.query;
  const filter = useMemo(() => readFilter(query), [query]);
  const pages = useExecutionList(filter);
  const shown = pages.executions;
  const [selected, setSelected] = useState(-1);
  const list = useRef<HTMLOListElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const rowHeight = narrow.matches ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
  const rows = useWindowRows(list, shown.length, rowHeight);

  const { more, loading, readsOn, loadMore } = pages;
  const nearEnd = rows.end >= shown.length - 1;
  useEffect(() => {
    // A page may have few executions, or none, although there are older ones.
    if (more && readsOn && !loading && nearEnd) loadMore();
  }, [more, readsOn, loading, nearEnd, loadMore]);

  // Before the rows are on the screen: the next key may come with the next event.
  useLayoutEffect(() => {
    const select = (step: number) => () => {
      const next = Math.min(shown.length - 1, Math.max(0, selected + step));
      setSelected(next);
      const top = (list.current?.getBoundingClientRect().top ?? 0) + next * rowHeight;
      if (top < 80) scrollBy(0, top - 80);
      else if (top + rowHeight > innerHeight - 20) scrollBy(0, top + rowHeight - innerHeight + 20);
    };
    const open = (): void => {
      const one = shown[selected];
      if (one !== undefined) navigate(to.execution(one.id));
    };
    const ends = [
      onKey("j", select(1)),
      onKey("k", select(-1)),
      onKey("/", () => search.current?.focus()),
      ...(selected >= 0 ? [onKey("Enter", open)] : []),
    ];
    return () => ends.forEach((end) => end());
  }, [shown, selected, rowHeight]);

  return (
    <main id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>Executions</h1>
        <span class="dim number" aria-live="polite">
          {shown.length}
          {pages.more ? "+" : ""} shown
        </span>
      </div>
      <FilterBar filter={filter} executions={pages.executions} search={search} />
      {pages.error !== null && <ErrorNote error={pages.error} retry={pages.retry} />}
      {shown.length === 0 && !pages.loading && !pages.more && pages.error === null && (
        <div class="empty">
          <p>No executions match.</p>
          <p class="soft">
            Executions start by <code>tidemill run --server</code>, by <a href={to.start()}>hand</a>, or by a
            webhook of a registered repository.
          </p>
        </div>
      )}
      <ol
        ref={list}
        class="virtual card"
        style={{ height: `${shown.length * rowHeight}px` }}
        hidden={shown.length === 0}
      >
        {shown.slice(rows.first, rows.end).map((one, index) => (
          <li
            key={one.id}
            class={rows.first + index === selected ? "selected" : ""}
            aria-current={rows.first + index === selected ? "true" : undefined}
            aria-setsize={pages.more ? -1 : shown.length}
            aria-posinset={rows.first + index + 1}
            style={{ top: `${(rows.first + index) * rowHeight}px`, height: `${rowHeight}px` }}
          >
            <ExecutionRow execution={one} />
          </li>
        ))}
      </ol>
      {more && !readsOn && !loading && pages.error === null && (
        <p>
          <span class="soft">
            {shown.length === 0 ? "No recent execution matches." : "No older execution matched so far."}
          </span>{" "}
          <button type="button" onClick={loadMore}>
            Search older executions
          </button>
        </p>
      )}
      {pages.loading && <p class="dim">Loading…</p>}
    </main>
  );
}
