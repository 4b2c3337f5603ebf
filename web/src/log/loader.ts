// Decides which parts of a log are read, and when: first the end of a long log and the start of a short one, then what is printed, and
// blocks as they are needed.

import { poll, type PassResult } from "../api/polling";
import { BLOCK } from "./block";
import { LogDocument, type Gap } from "./document";
import type { LogPart, LogSource } from "./source";
import { Times } from "./times";

/** A log up to this size is read from its start. */
const MAX_WHOLE = 2 * 1024 * 1024;
/** How much of the end of a longer log is read first. */
const TAIL = 1024 * 1024;
/** The size of one request. */
const REQUEST = 4 * BLOCK;
const WAIT_MS = 10_000;
/** Pauses after errors while blocks are read. */
const RETRY_MS = 3000;
const MAX_RETRIES = 5;

export type LoadState = "loading" | "following" | "ended";

export interface Pauses {
  readonly pause: (ms: number) => Promise<void>;
  readonly now: () => number;
}

const PAUSES: Pauses = { pause: (ms) => new Promise((done) => setTimeout(done, ms)), now: () => Date.now() };

/** Reads one attempt's log into a document. */
export class LogLoader {
  readonly document = new LogDocument();
  readonly times = new Times();
  state: LoadState = "loading";
  error: unknown = null;
  private readonly stopped = new AbortController();
  /** Blocks that are being read, or will be. */
  private readonly requested = new Map<number, Promise<void>>();
  private isCaughtUp = false;

  constructor(
    readonly source: LogSource,
    private readonly onChange: () => void,
    private readonly pauses: Pauses = PAUSES,
  ) {}

  /** Begins to read. `size` is what the log has at least; `null` if that is not known. */
  async start(size: number | null): Promise<void> {
    try {
      const known = size ?? (await this.probe());
      const start = known <= MAX_WHOLE ? 0 : Math.floor((known - TAIL) / BLOCK) * BLOCK;
      this.document.grow(start);
      await this.follow(start);
    } catch (error) {
      this.fail(error);
    }
  }

  stop(): void {
    this.stopped.abort();
  }

  /** Finds the size of an ended log, up to one block, or 0 if it is short: a read past the end returns nothing. */
  private async probe(): Promise<number> {
    const isPast = async (offset: number): Promise<boolean> => {
      const { bytes } = await this.source.read({ offset, limit: 1, waitMs: 0 }, this.stopped.signal);
      return bytes.length === 0;
    };
    let low = 0;
    let high = MAX_WHOLE / BLOCK;
    while (!(await isPast(high * BLOCK))) {
      low = high;
      high *= 2;
    }
    if (low === 0) return 0;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (await isPast(middle * BLOCK)) high = middle;
      else low = middle;
    }
    return high * BLOCK;
  }

  /** Reads from `start` to the end, and then what is printed. */
  private async follow(start: number): Promise<void> {
    let offset = start;
    const pass = async (signal: AbortSignal): Promise<PassResult> => {
      let part: LogPart;
      do {
        const waitMs = this.isCaughtUp ? WAIT_MS : 0;
        part = await this.source.read({ offset, limit: REQUEST, waitMs }, signal);
        // What was there before this page is not timed.
        if (this.isCaughtUp) this.times.add(offset, part.next, this.pauses.now());
        this.error = null;
        const before = offset;
        offset = this.document.append(offset, part.bytes);
        if (part.end) {
          this.state = "ended";
          this.onChange();
          return "done";
        }
        if (part.bytes.length < REQUEST) {
          this.isCaughtUp = true;
          this.state = "following";
        }
        this.onChange();
        if (part.bytes.length < REQUEST) return offset === before ? "unchanged" : "changed";
      } while (!signal.aborted);
      return "done";
    };
    await poll(this.stopped.signal, pass, (error) => this.fail(error));
  }

  private fail(error: unknown): void {
    if (this.stopped.signal.aborted) return;
    this.error = error;
    this.onChange();
    if (isFinal(error)) this.stop();
  }

  /** Reads these blocks unless they are cached; resolves when they are, or when that failed. */
  async need({ from, to }: Gap): Promise<void> {
    const waits: Promise<void>[] = [];
    const end = Math.min(to, this.document.blockCount);
    for (let block = Math.max(0, from); block < end; block++) {
      if (this.document.isCached(block)) continue;
      let wait = this.requested.get(block);
      if (wait === undefined) {
        let last = block + 1;
        while (last < end && last - block < REQUEST / BLOCK && this.isMissing(last)) last++;
        wait = this.read(block, last);
        for (let index = block; index < last; index++) this.requested.set(index, wait);
      }
      waits.push(wait);
    }
    await Promise.all(waits);
  }

  /** Whether blocks of this range are being read. */
  isReading({ from, to }: Gap): boolean {
    for (const block of this.requested.keys()) if (from <= block && block < to) return true;
    return false;
  }

  private isMissing(block: number): boolean {
    return !this.document.isCached(block) && !this.requested.has(block);
  }

  private async read(from: number, to: number): Promise<void> {
    const { signal } = this.stopped;
    let block = from;
    for (let failures = 0; block < to && !signal.aborted;) {
      try {
        const limit = Math.min(to * BLOCK, this.document.size) - block * BLOCK;
        const { bytes } = await this.source.read({ offset: block * BLOCK, limit, waitMs: 0 }, signal);
        // A short reply ends within a block, which is then read again.
        const whole =
          bytes.length === limit ? Math.ceil(bytes.length / BLOCK) : Math.floor(bytes.length / BLOCK);
        if (whole === 0) break;
        for (let index = 0; index < whole; index++)
          this.document.put(block + index, bytes.slice(index * BLOCK, (index + 1) * BLOCK));
        block += whole;
        this.error = null;
      } catch (error) {
        this.fail(error);
        if (++failures >= MAX_RETRIES || isFinal(error)) break;
        await this.pauses.pause(RETRY_MS);
      }
    }
    for (let index = from; index < to; index++) this.requested.delete(index);
    this.onChange();
  }

  /** Reads all that was never read, from the start; stops when `isWanted` is false. */
  async needAll(isWanted: () => boolean): Promise<void> {
    for (;;) {
      const gap = this.document.gaps()[0];
      if (gap === undefined || !isWanted()) return;
      const to = Math.min(gap.to, gap.from + 2 * (REQUEST / BLOCK));
      await this.need({ from: gap.from, to });
      if (this.document.info(gap.from) === undefined) return;
    }
  }
}

/** Whether trying again does not help. */
function isFinal(error: unknown): boolean {
  const status = typeof error === "object" && error !== null && "status" in error ? error.status : null;
  return status === 400 || status === 401 || status === 403 || status === 404;
}
