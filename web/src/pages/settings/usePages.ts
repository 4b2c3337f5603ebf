import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../../api/client";
import { asApiError } from "../../components/useLive";

interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next: string | null;
}

export interface Pages<Row> {
  readonly rows: readonly Row[] | null;
  readonly error: ApiError | null;
  readonly more: boolean;
  readonly loadMore: () => void;
  readonly reload: () => void;
}

/** A list that comes in pages. `key` names what is loaded; `null`: nothing yet. */
export function usePages<Row>(
  key: string | null,
  load: (cursor: string | null) => Promise<Page<Row>>,
): Pages<Row> {
  const [rows, setRows] = useState<readonly Row[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [turn, setTurn] = useState(0);
  /** Counts the lists that were begun: a page of an earlier one is dropped. */
  const generation = useRef(0);
  const isReading = useRef(false);

  const read = (cursor: string | null): void => {
    const started = generation.current;
    isReading.current = true;
    load(cursor).then(
      (page) => {
        if (started !== generation.current) return;
        isReading.current = false;
        setRows((old) => (cursor === null ? page.rows : [...(old ?? []), ...page.rows]));
        setNext(page.next);
        setError(null);
      },
      (cause: unknown) => {
        if (started !== generation.current) return;
        isReading.current = false;
        setError(asApiError(cause));
      },
    );
  };

  useEffect(() => {
    generation.current += 1;
    isReading.current = false;
    setRows(null);
    setNext(null);
    setError(null);
    if (key !== null) read(null);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the key stands for `load`
  }, [key, turn]);

  return {
    rows,
    error,
    more: next !== null,
    loadMore: () => {
      if (next !== null && !isReading.current) read(next);
    },
    reload: () => setTurn((old) => old + 1),
  };
}
