// Times of lines. The log has no times in it: the worker's marks say when its parts were written, the steps when commands began, and of
// what has no mark yet it is known when the bytes arrived.

import type { Mark } from "./source";

/** Bytes that arrived together. */
interface Arrival {
  readonly offset: number;
  readonly end: number;
  readonly timeMs: number;
}

/** The maximum number of stored arrivals; more are joined in pairs. */
const MAX_ARRIVALS = 50_000;

/** When a position was written. */
type Known = Pick<Mark, "offset" | "timeMs">;

export class Times {
  private arrivals: Arrival[] = [];
  private known: readonly Known[] = [];
  /** What the known times reach to: the size of the log when they were read. */
  private knownEnd = 0;

  /** Sets the known times up to `end`, by ascending offset. */
  setKnown(known: readonly Known[], end: number): void {
    this.known = known;
    this.knownEnd = end;
  }

  /** Records that the bytes from `offset` to `end` arrived now. Arrivals come in order. */
  add(offset: number, end: number, timeMs: number): void {
    const last = this.arrivals[this.arrivals.length - 1];
    if (end <= offset || (last !== undefined && offset < last.end)) return;
    this.arrivals.push({ offset, end, timeMs });
    if (this.arrivals.length > MAX_ARRIVALS) this.halve();
  }

  /** Number of stored arrivals. */
  get count(): number {
    return this.arrivals.length;
  }

  /** When the byte at `offset` was written, or arrived. */
  at(offset: number): number | null {
    const known = offset < this.knownEnd ? this.known[lastAt(this.known, offset)] : undefined;
    if (known !== undefined) return known.timeMs;
    const arrival = this.arrivals[lastAt(this.arrivals, offset)];
    return arrival !== undefined && offset < arrival.end ? arrival.timeMs : null;
  }

  private halve(): void {
    const joined: Arrival[] = [];
    for (let at = 0; at < this.arrivals.length; at += 2) {
      const [first, second] = [this.arrivals[at], this.arrivals[at + 1]];
      if (first === undefined) break;
      joined.push(second?.offset === first.end ? { ...first, end: second.end } : first);
      if (second !== undefined && second.offset !== first.end) joined.push(second);
    }
    this.arrivals = joined;
  }
}

/** Index of the last one that begins at or before `offset`. */
export function lastAt(list: readonly { readonly offset: number }[], offset: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.offset ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Time of day, `14:03:07`. */
export function formatClock(timeMs: number): string {
  const date = new Date(timeMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}
