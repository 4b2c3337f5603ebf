import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, get } from "../../api/client";
import { PAGE } from "../../api/first_list";
import { ListEvents } from "../../api/list_events";
import { poll } from "../../api/polling";
import type { ExecutionSummary, ListQuery } from "../../api/types";
import { asApiError } from "../../components/useLive";
import { type ExecutionFilter, listQuery, mergeExecutions, mergeFirstPage } from "../../domain/executions";

/** After so many pages in a row without a match, older ones are read only if the user asks for that. */
const MAX_EMPTY_PAGES = 2;

export interface ExecutionPages {
  readonly executions: readonly ExecutionSummary[];
  readonly loading: boolean;
  readonly error: ApiError | null;
  /** Whether there are older ones. */
  readonly more: boolean;
  /** Whether older ones may be read without being asked for. */
  readonly readsOn: boolean;
  readonly loadMore: () => void;
  /** Tries again what failed. */
  readonly retry: () => void;
}

interface State {
  readonly executions: readonly ExecutionSummary[];
  readonly cursor: string | null;
  readonly loading: boolean;
  /** Why the newest ones could not be read. */
  readonly error: ApiError | null;
  /** Why older ones could not be read. */
  readonly olderError: ApiError | null;
  /** Number of pages in a row that added nothing. */
  readonly emptyPages: number;
}

const EMPTY: State = {
  executions: [],
  cursor: null,
  loading: true,
  error: null,
  olderError: null,
  emptyPages: 0,
};

function signature(executions: readonly ExecutionSummary[]): string {
  return JSON.stringify(executions.map((one) => [one.id, one.status, one.end_time]));
}

interface Page {
  readonly executions: readonly ExecutionSummary[];
  readonly next_cursor?: string | null;
}

function withFirstPage(old: State, page: Page): State {
  const part = mergeFirstPage(old, { executions: page.executions, cursor: page.next_cursor ?? null });
  const isAnew = part.executions === page.executions;
  return {
    ...part,
    // A page of older ones may be on its way.
    loading: old.cursor !== null && old.loading,
    error: null,
    olderError: isAnew ? null : old.olderError,
    emptyPages: page.executions.length > 0 ? 0 : isAnew ? 1 : old.emptyPages,
  };
}

/** Adds the page after `cursor`, unless the list was begun anew since it was asked for. */
function withOlderPage(old: State, cursor: string, page: Page): State {
  if (old.cursor !== cursor) return { ...old, loading: false };
  const executions = mergeExecutions(old.executions, page.executions);
  return {
    ...old,
    executions,
    cursor: page.next_cursor ?? null,
    loading: false,
    emptyPages: executions.length > old.executions.length ? 0 : old.emptyPages + 1,
  };
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

  const [turn, setTurn] = useState(0);
  useEffect(() => {
    generation.current += 1;
    const stop = new AbortController();
    let seen = "";
    setState(EMPTY);
    const events = new ListEvents();
    let hasRead = false;
    void poll(
      stop.signal,
      async (signal) => {
        if (hasRead) await events.next(signal);
        const page = await read(null, signal);
        hasRead = true;
        const now = signature(page.executions);
        if (now === seen) {
          setState((old) => (old.error === null ? old : { ...old, error: null }));
          return page.executions.some((one) => one.end_time == null) ? "live" : "unchanged";
        }
        seen = now;
        setState((old) => withFirstPage(old, page));
        return "changed";
      },
      (cause) => {
        const error = asApiError(cause);
        if ([400, 401, 403].includes(error.status)) stop.abort();
        setState((old) => ({ ...old, loading: old.cursor !== null && old.loading, error }));
      },
    );
    return () => stop.abort();
  }, [read, turn]);

  const { cursor, loading, olderError } = state;
  const loadMore = useCallback(() => {
    if (cursor === null || loading) return;
    const started = generation.current;
    const isCurrent = (): boolean => started === generation.current;
    setState((old) => ({ ...old, loading: true, olderError: null }));
    read(cursor).then(
      (page) => {
        if (isCurrent()) setState((old) => withOlderPage(old, cursor, page));
      },
      (cause: unknown) => {
        if (isCurrent()) setState((old) => ({ ...old, loading: false, olderError: asApiError(cause) }));
      },
    );
  }, [cursor, loading, read]);

  return {
    executions: state.executions,
    loading,
    error: state.error ?? olderError,
    more: cursor !== null,
    readsOn: state.error === null && olderError === null && state.emptyPages < MAX_EMPTY_PAGES,
    loadMore,
    retry: () => (state.error === null ? loadMore() : setTurn((old) => old + 1)),
  };
}
