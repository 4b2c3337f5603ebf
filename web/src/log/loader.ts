// Decides which parts of a log are read, and when: first the end of a long log and the start of a short one, then what is printed, and
// blocks as they are needed.

import { poll, type PassResult } from "../api/polling";
import { BLOCK } from "./block";
import { LogDocument, type Gap } from "./document";
import type { Step } from "./sections";
import type { LogPart, LogSource, Mark } from "./source";
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
/** Blocks that could not be read are not read again within this time, unless the reader asks for that. */
const FAILED_MS = 30_000;
/** What comes after a longer pause, as while the tab is hidden, may have been printed at any time of it. */
const MAX_UNWATCHED_MS = 3000;

export type LoadState = "loading" | "following" | "ended";

export interface Pauses {
  readonly pause: (ms: number) => Promise<void>;
  readonly now: () => number;
}

const PAUSES: Pauses = { pause: (ms) => new Promise((done) => setTimeout(done, ms)), now: () => Date.now() };

/** Why a block could not be read. */
interface Failure {
  readonly text: string;
  readonly atMs: number;
  /** Whether trying again does not help, at least not soon. */
  readonly isFinal: boolean;
}

/** Reads one attempt's log into a document. */
export class LogLoader {
  readonly document = new LogDocument();
  readonly times = new Times();
  state: LoadState = "loading";
  error: unknown = null;
  private readonly stopped = new AbortController();
  /** Blocks that are being read, or will be. */
  private readonly requested = new Map<number, Promise<void>>();
  private readonly failures = new Map<number, Failure>();
  private isCaughtUp = false;
  private steps: readonly Step[] = [];
  private marks: readonly Mark[] = [];
  /** Up to where the marks say when bytes were written. */
  private marksEnd = 0;
  private marking: { readonly isFinal: boolean; readonly done: Promise<void> } | null = null;

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

  /** Finds the size of an ended log. */
  private async probe(): Promise<number> {
    return (await this.source.read({ offset: 0, limit: 1, waitMs: 0 }, this.stopped.signal)).size;
  }

  /** Sets when commands began. */
  setSteps(steps: readonly Step[]): void {
    this.steps = steps;
    this.updateTimes();
  }

  /** Reads when lines were written, and their numbers: once, and once more when the log has ended. */
  loadMarks(): Promise<void> {
    const isFinal = this.state === "ended";
    if (this.marking === null || (isFinal && !this.marking.isFinal))
      this.marking = { isFinal, done: this.readMarks(isFinal) };
    return this.marking.done;
  }

  /** The last mark at or before a line, and the offset of the next mark. */
  markBefore(number: number): { offset: number; end: number } | null {
    const at = this.marks.findLastIndex(({ line }) => line < number);
    const mark = this.marks[at];
    return mark === undefined
      ? null
      : { offset: mark.offset, end: this.marks[at + 1]?.offset ?? this.document.size };
  }

  private async readMarks(isFinal: boolean): Promise<void> {
    try {
      this.marks = await this.source.marks(this.stopped.signal);
    } catch {
      // The log is shown without them.
      return;
    }
    // While the job runs, what follows the last mark may have been written much later.
    this.marksEnd = isFinal ? Infinity : (this.marks[this.marks.length - 1]?.offset ?? 0);
    this.document.setAnchors(this.marks);
    this.updateTimes();
    this.onChange();
  }

  private updateTimes(): void {
    const known: { offset: number; timeMs: number }[] = [...this.marks];
    for (const { log_offset: offset, started_at: start } of this.steps)
      if (offset != null && start != null) known.push({ offset, timeMs: Date.parse(start) });
    known.sort((one, other) => one.offset - other.offset);
    this.times.setKnown(known, this.marksEnd);
  }

  /** Reads from `start` to the end, and then what is printed. */
  private async follow(start: number): Promise<void> {
    let offset = start;
    let readMs = 0;
    let pollMs = 0;
    /** Whether what comes was printed just now. */
    let isTimed = false;
    const pass = async (signal: AbortSignal): Promise<PassResult> => {
      let part: LogPart;
      do {
        if (this.pauses.now() - readMs > MAX_UNWATCHED_MS) isTimed = false;
        const waitMs = this.isCaughtUp ? WAIT_MS : 0;
        part = await this.source.read({ offset, limit: REQUEST, waitMs }, signal);
        readMs = this.pauses.now();
        pollMs = part.pollMs ?? 0;
        if (isTimed) this.times.add(offset, part.next, readMs);
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
          isTimed = true;
          this.state = "following";
        }
        this.onChange();
        if (part.bytes.length < REQUEST) return offset === before ? "unchanged" : "changed";
      } while (!signal.aborted);
      return "done";
    };
    const onError = (error: unknown): void => {
      isTimed = false;
      this.fail(error);
    };
    await poll(this.stopped.signal, pass, onError, () => pollMs);
  }

  private fail(error: unknown): void {
    if (this.stopped.signal.aborted) return;
    this.error = error;
    this.onChange();
    if (isFinal(error)) this.stop();
  }

  /**
   * Reads these blocks unless they are cached; resolves when they are, or when that failed. `isAsked`: also those that
   * failed just now.
   */
  async need({ from, to }: Gap, isAsked = false): Promise<void> {
    const waits: Promise<void>[] = [];
    const end = Math.min(to, this.document.blockCount);
    for (let block = Math.max(0, from); block < end; block++) {
      let wait = this.requested.get(block);
      if (wait === undefined && this.isMissing(block, isAsked)) {
        let last = block + 1;
        while (last < end && last - block < REQUEST / BLOCK && this.isMissing(last, isAsked)) last++;
        wait = this.read(block, last);
        for (let index = block; index < last; index++) this.requested.set(index, wait);
      }
      if (wait !== undefined) waits.push(wait);
    }
    await Promise.all(waits);
  }

  /** Whether blocks of this range are being read. */
  isReading({ from, to }: Gap): boolean {
    for (const block of this.requested.keys()) if (from <= block && block < to) return true;
    return false;
  }

  /** Why a block of this range could not be read. */
  failureOf({ from, to }: Gap): string | null {
    return this.failureIn(from, to)?.text ?? null;
  }

  private failureIn(from: number, to: number): Failure | null {
    for (const [block, failure] of this.failures) if (from <= block && block < to) return failure;
    return null;
  }

  private isMissing(block: number, isAsked: boolean): boolean {
    if (this.stopped.signal.aborted || this.document.isCached(block) || this.requested.has(block))
      return false;
    const failure = this.failures.get(block);
    return failure === undefined || isAsked || this.pauses.now() - failure.atMs >= FAILED_MS;
  }

  private async read(from: number, to: number): Promise<void> {
    for (let index = from; index < to; index++) this.failures.delete(index);
    try {
      await this.readBlocks(from, to);
    } finally {
      for (let index = from; index < to; index++) this.requested.delete(index);
      this.onChange();
    }
  }

  private async readBlocks(from: number, to: number): Promise<void> {
    const { signal } = this.stopped;
    let block = from;
    const giveUp = (text: string, isFinal: boolean): void => {
      const failure = { text, atMs: this.pauses.now(), isFinal };
      for (let index = block; index < to; index++) this.failures.set(index, failure);
    };
    for (let failures = 0; block < to && !signal.aborted;) {
      try {
        const limit = Math.min(to * BLOCK, this.document.size) - block * BLOCK;
        const { bytes } = await this.source.read({ offset: block * BLOCK, limit, waitMs: 0 }, signal);
        // A short reply ends within a block, which is then read again.
        const whole =
          bytes.length === limit ? Math.ceil(bytes.length / BLOCK) : Math.floor(bytes.length / BLOCK);
        if (whole === 0) {
          giveUp("The server does not have these bytes.", true);
          return;
        }
        for (let index = 0; index < whole; index++)
          this.document.put(block + index, bytes.slice(index * BLOCK, (index + 1) * BLOCK));
        block += whole;
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        if (isDenied(error)) this.fail(error);
        if (++failures >= MAX_RETRIES || isFinal(error)) {
          giveUp(error instanceof Error ? error.message : "The server does not answer.", isFinal(error));
          return;
        }
        await this.pauses.pause(RETRY_MS);
      }
    }
  }

  /** Reads all that was never read, from the start; stops when `isWanted` is false, or when the server has trouble. */
  async needAll(isWanted: () => boolean): Promise<void> {
    for (let next = 0; ;) {
      const gap = this.document.gaps().find(({ to }) => to > next);
      if (gap === undefined || !isWanted() || this.stopped.signal.aborted) return;
      const from = Math.max(gap.from, next);
      next = Math.min(gap.to, from + 2 * (REQUEST / BLOCK));
      await this.need({ from, to: next }, true);
      if (this.failureIn(from, next)?.isFinal === false) return;
    }
  }
}

function statusOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "status" in error ? error.status : null;
}

/** Whether the token does not allow to read the log. */
function isDenied(error: unknown): boolean {
  const status = statusOf(error);
  return status === 401 || status === 403;
}

/** Whether trying again does not help. */
function isFinal(error: unknown): boolean {
  const status = statusOf(error);
  return status === 400 || status === 404 || isDenied(error);
}
