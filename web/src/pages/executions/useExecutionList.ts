import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get } from "../../api/client";
import { poll } from "../../api/polling";
import type { ExecutionSummary, ListQuery } from "../../api/types";
import { asApiError } from "../../components/useLive";
import { type ExecutionFilter, mergeExecutions, listQuery } from "../../domain/executions";

const PAGE = 100;

export interface ExecutionPages {
  readonly executions: readonly ExecutionSummary[];
  readonly loading: boolean;
  readonly error: ApiError | null;
  /** Whether there are older ones. */
  readonly more: boolean;
  readonly loadMore: () => void;
}

interface State {
  readonly executions: readonly ExecutionSummary[];
  readonly cursor: string | null;
  readonly loading: boolean;
  readonly error: ApiError | null;
}

const EMPTY: State = { executions: [], cursor: null, loading: true, error: null };

function signature(executions: readonly ExecutionSummary[]): string {
  return JSON.stringify(executions.map((one) => [one.id, one.status, one.end_time]));
}

/** The executions that a filter lets through: the newest are kept current, older ones come when asked for. */
export function useExecutionList(filter: ExecutionFilter): ExecutionPages {
  const query = JSON.stringify(listQuery(filter));
  const [state, setState] = useState<State>(EMPTY);
  const generation = useRef(0);

  const read = useCallback(
    (cursor: string | null, signal?: AbortSignal) =>
      get("/api/pipeline/executions", {
        query: {
          ...(JSON.parse(query) as ListQuery),
          limit: PAGE,
          ...(cursor === null ? {} : { cursor }),
        },
        ...(signal === undefined ? {} : { signal }),
      }),
    [query],
  );

  useEffect(() => {
    generation.current += 1;
    const stop = new AbortController();
    let seen = "";
    setState(EMPTY);
    void poll(
      stop.signal,
      async (signal) => {
        const page = await read(null, signal);
        const now = signature(page.executions);
        if (now === seen) return "unchanged";
        const isFirst = seen === "";
        seen = now;
        setState((old) => ({
          executions: mergeExecutions(old.executions, page.executions),
          cursor: isFirst ? (page.next_cursor ?? null) : old.cursor,
          loading: false,
          error: null,
        }));
        return "changed";
      },
      (cause) => {
        const error = asApiError(cause);
        if ([400, 401, 403].includes(error.status)) stop.abort();
        setState((old) => ({ ...old, loading: false, error }));
      },
    );
    return () => stop.abort();
  }, [read]);

  const { cursor, loading } = state;
  const loadMore = useCallback(() => {
    if (cursor === null || loading) return;
    const started = generation.current;
    setState((old) => ({ ...old, loading: true }));
    read(cursor).then(
      (page) => {
        if (started !== generation.current) return;
        setState((old) => ({
          executions: mergeExecutions(old.executions, page.executions),
          cursor: page.next_cursor ?? null,
          loading: false,
          error: null,
        }));
      },
      (cause: unknown) => setState((old) => ({ ...old, loading: false, error: asApiError(cause) })),
    );
  }, [cursor, loading, read]);

  return { ...state, more: cursor !== null, loadMore };
}
