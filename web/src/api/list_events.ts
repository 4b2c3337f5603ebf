// When to read a list of executions again.
import { ChangeEvents } from "./events";

/** A list is read again after this time in any case: another process may have written. */
const MAX_WAIT_MS = 30_000;

/** Waits for changes of what lists show by events, where the server sends them; otherwise the caller asks repeatedly. */
export class ListEvents {
  private readonly events = new ChangeEvents("/api/pipeline/changes");
  private known = "";

  /** Returns when a list that was read may have changed, and at once where there are no events. */
  async next(signal: AbortSignal): Promise<void> {
    if (this.events.isUnavailable) return;
    await this.events.changed(this.known, signal, MAX_WAIT_MS);
    this.known = this.events.current ?? "";
  }
}
