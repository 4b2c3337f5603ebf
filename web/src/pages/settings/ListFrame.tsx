import type { ComponentChildren, JSX } from "preact";
import { ErrorNote } from "../../components/ErrorNote";
import { type Column, DataTable } from "../../components/DataTable";
import type { Pages } from "./usePages";

/** A list with its errors and its further pages. */
export function ListFrame<Row>({
  label,
  pages,
  columns,
  rowKey,
  empty,
}: {
  label: string;
  pages: Pages<Row>;
  columns: readonly Column<Row>[];
  rowKey: (row: Row) => string;
  empty: ComponentChildren;
}): JSX.Element {
  if (pages.error !== null) return <ErrorNote error={pages.error} retry={pages.reload} />;
  if (pages.rows === null) return <p class="dim">Loading…</p>;
  return (
    <>
      <DataTable label={label} columns={columns} rows={pages.rows} rowKey={rowKey} empty={empty} />
      {pages.more && (
        <button type="button" onClick={pages.loadMore}>
          Show more
        </button>
      )}
    </>
  );
}
