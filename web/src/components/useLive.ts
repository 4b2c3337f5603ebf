import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { type PassResult, poll } from "../api/polling";

export interface Live<Value> {
  readonly value: Value | null;
  readonly error: ApiError | null;
  /** Asks again at once. */
  readonly refresh: () => void;
}

export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError
    ? error
    : new ApiError(0, { detail: error instanceof Error ? error.message : String(error) });
}

/**
 * Keeps a value current while the component is shown. `load` gets what it returned last, and returns the new value, or
 * `null` if nothing changed; an equal value is no change either. `isFinal` says when a value never changes again, `isBusy`
 * when it will change soon. `key` names what is loaded.
 */
export function useLive<Value>(
  key: string,
  load: (signal: AbortSignal, previous: Value | null) => Promise<Value | null>,
  isFinal: (value: Value) => boolean = () => false,
  isBusy: (value: Value) => boolean = () => false,
): Live<Value> {
  const [state, setState] = useState<{ key: string; value: Value | null; error: ApiError | null }>({
    key,
    value: null,
    error: null,
  });
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    const stop = new AbortController();
    let previous: Value | null = null;
    let text = "";
    const pass = async (signal: AbortSignal): Promise<PassResult> => {
      const value: Value | null = await load(signal, previous);
      if (signal.aborted) return "done";
      const now = value === null ? text : JSON.stringify(value);
      const hasChanged = now !== text;
      text = now;
      if (value !== null && hasChanged) {
        previous = value;
        setState({ key, value, error: null });
      } else {
        setState((old) => (old.error === null ? old : { ...old, error: null }));
      }
      if (previous !== null && isFinal(previous)) return "done";
      if (hasChanged) return "changed";
      return previous !== null && isBusy(previous) ? "live" : "unchanged";
    };
    const onError = (cause: unknown): void => {
      const error = asApiError(cause);
      setState((old) => ({ key, value: old.key === key ? old.value : null, error }));
      // These do not get better by trying again.
      if ([400, 401, 403, 404].includes(error.status)) stop.abort();
    };
    void poll(stop.signal, pass, onError);
    return () => stop.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the key stands for the functions
  }, [key, turn]);

  const current = state.key === key ? state : { value: null, error: null };
  return { value: current.value, error: current.error, refresh: () => setTurn((old) => old + 1) };
}
