// Keeps what is shown current: repeats a request, more slowly while nothing changes, and not while the tab is hidden.

/** What one pass found. `live`: nothing changed, but what is shown will change soon. */
export type PassResult = "changed" | "live" | "unchanged" | "done";

const MIN_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 15_000;
const MAX_LIVE_PAUSE_MS = 5000;
const RETRY_MS = 3000;

/** The pause before the next pass: doubled while nothing changes. */
export function nextPause(previous: number, result: PassResult): number {
  const longest = result === "live" ? MAX_LIVE_PAUSE_MS : MAX_PAUSE_MS;
  return result === "changed" ? MIN_PAUSE_MS : Math.min(longest, Math.max(MIN_PAUSE_MS, previous * 2));
}

/** Waits, but not on when the user comes back to the tab. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      document.removeEventListener("visibilitychange", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    document.addEventListener("visibilitychange", done);
  });
}

function visible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (!document.hidden) {
      resolve();
      return;
    }
    function check(): void {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      signal.removeEventListener("abort", check);
      resolve();
    }
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
  });
}

/**
 * Runs `pass` until it returns `done` or the signal aborts. A pass that was held by the server (a long poll) is
 * followed by the next one at once. A failed pass is shown and tried again. No pause is shorter than `minPause`.
 */
export async function poll(
  signal: AbortSignal,
  pass: (signal: AbortSignal) => Promise<PassResult>,
  onError: (error: unknown) => void,
  minPause: () => number = () => 0,
): Promise<void> {
  let wait = MIN_PAUSE_MS;
  const stopped = (): boolean => signal.aborted;
  while (!stopped()) {
    await visible(signal);
    if (stopped()) return;
    const started = Date.now();
    try {
      const result = await pass(signal);
      if (result === "done") return;
      wait = Date.now() - started > 2 * MIN_PAUSE_MS ? MIN_PAUSE_MS / 4 : nextPause(wait, result);
    } catch (error) {
      if (stopped()) return;
      onError(error);
      wait = RETRY_MS;
    }
    await pause(Math.max(wait, minPause()), signal);
  }
}
