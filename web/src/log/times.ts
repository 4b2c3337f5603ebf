// Times of lines. The log has no times in it: those that are known are when bytes arrived while the job ran, and what groups print.

/** Bytes that arrived together. */
interface Arrival {
  readonly offset: number;
  readonly end: number;
  readonly timeMs: number;
}

/** The maximum number of stored arrivals; more are joined in pairs. */
const MAX_ARRIVALS = 50_000;

export class Times {
  private arrivals: Arrival[] = [];

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

  /** When the byte at `offset` arrived. */
  at(offset: number): number | null {
    let low = 0;
    let high = this.arrivals.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.arrivals[middle]?.offset ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    const arrival = this.arrivals[low - 1];
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

/** Time of day, `14:03:07`. */
export function formatClock(timeMs: number): string {
  const date = new Date(timeMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}
