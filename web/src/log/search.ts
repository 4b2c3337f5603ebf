// Search in a log, block by block: at first in what is loaded, then in the rest, which is read for it.

import { plainText } from "./line";
import { keyOf, type LineRef, type LogDocument } from "./document";

export interface Query {
  readonly text: string;
  readonly isRegex: boolean;
  readonly matchesCase: boolean;
}

/** The maximum number of matching lines that are counted. */
export const MAX_MATCHES = 100_000;
/** The maximum length of a line's text that a regular expression is applied to. */
const MAX_REGEX_TEXT = 2000;
/** The maximum number of matches that are marked in one line. */
const MAX_MARKS = 200;
/** How long one turn of work may take before the page gets its turn. */
const TURN_MS = 12;

/** Errors in logs of common tools. */
export const ERRORS: Query = {
  text: String.raw`(?:^|[^\w-])(?:errors?(?:\[\w+\])?:|error \w*\d+|fatal(?: error)?:|panicked at|panic:|FAILED\b|FAIL:|--- FAIL|✗|✖|Traceback \(most|(?:\w+\.)*\w*(?:Error|Exception)\b(?::|$)|AssertionError|Segmentation fault|command not found|No such file or directory|not ok \d)`,
  isRegex: true,
  matchesCase: false,
};

/** Finds the places of a query in a line's text. */
export class Matcher {
  private constructor(
    private readonly needle: string,
    private readonly regex: RegExp | null,
    private readonly matchesCase: boolean,
  ) {}

  /** Returns the error's text if the query is not a regular expression, and `null` if it is empty. */
  static of(query: Query): Matcher | string | null {
    if (query.text === "") return null;
    if (!query.isRegex)
      return new Matcher(query.matchesCase ? query.text : query.text.toLowerCase(), null, query.matchesCase);
    try {
      return new Matcher("", new RegExp(query.text, query.matchesCase ? "gu" : "giu"), query.matchesCase);
    } catch (error) {
      return error instanceof Error ? error.message : "The regular expression is not valid.";
    }
  }

  matches(text: string): boolean {
    if (this.regex === null) return (this.matchesCase ? text : text.toLowerCase()).includes(this.needle);
    this.regex.lastIndex = 0;
    return this.regex.test(text.slice(0, MAX_REGEX_TEXT));
  }

  /** The ranges that match, in order. */
  ranges(text: string): { start: number; end: number }[] {
    const found: { start: number; end: number }[] = [];
    if (this.regex !== null) {
      for (const match of text.slice(0, MAX_REGEX_TEXT).matchAll(this.regex)) {
        if (match[0] !== "") found.push({ start: match.index, end: match.index + match[0].length });
        if (found.length >= MAX_MARKS) break;
      }
      return found;
    }
    const searched = this.matchesCase ? text : text.toLowerCase();
    // If letters change their length, places in the changed text are not those in the text.
    if (searched.length !== text.length) return found;
    let at = searched.indexOf(this.needle);
    while (at !== -1 && found.length < MAX_MARKS) {
      found.push({ start: at, end: at + this.needle.length });
      at = searched.indexOf(this.needle, at + this.needle.length);
    }
    return found;
  }
}

/** What a search needs to read more. */
export interface Blocks {
  readonly document: LogDocument;
  need(range: { from: number; to: number }): Promise<void>;
}

/** How far a search is. */
export interface Progress {
  readonly matches: number;
  /** Whether there may be more, which are not counted. */
  readonly isCut: boolean;
  readonly searched: number;
  readonly blocks: number;
}

export class Search {
  private readonly found = new Map<number, { version: number; lines: Uint32Array }>();
  private count = 0;
  private isStopped = false;

  constructor(
    private readonly blocks: Blocks,
    readonly matcher: Matcher,
    private readonly onProgress: () => void,
    private readonly turn: () => Promise<void> = () => new Promise((done) => setTimeout(done)),
  ) {}

  stop(): void {
    this.isStopped = true;
  }

  get progress(): Progress {
    return {
      matches: this.count,
      isCut: this.count >= MAX_MATCHES,
      searched: this.found.size,
      blocks: this.blocks.document.blockCount,
    };
  }

  /** Searches blocks that were not searched since they changed. `readsAll`: also those that are not cached, which are read. */
  async run(readsAll: boolean): Promise<void> {
    const { document } = this.blocks;
    let began = performance.now();
    for (let block = 0; block < document.blockCount && this.isWanted; block++) {
      if (this.isCurrent(block)) continue;
      if (!document.isCached(block) || !this.hasNext(block)) {
        if (!readsAll) continue;
        await this.blocks.need({ from: block, to: block + 5 });
      }
      this.searchBlock(block);
      if (performance.now() - began > TURN_MS) {
        this.onProgress();
        await this.turn();
        began = performance.now();
      }
    }
    if (!this.isStopped) this.onProgress();
  }

  private get isWanted(): boolean {
    return !this.isStopped && this.count < MAX_MATCHES;
  }

  /** Whether the last line of the block, which may continue in the next one, can be read. */
  private hasNext(block: number): boolean {
    return block + 1 >= this.blocks.document.blockCount || this.blocks.document.isCached(block + 1);
  }

  private isCurrent(block: number): boolean {
    const found = this.found.get(block);
    return found !== undefined && found.version === this.blocks.document.info(block)?.length;
  }

  private searchBlock(block: number): void {
    const { document } = this.blocks;
    const info = document.info(block);
    if (info === undefined || !document.isCached(block)) return;
    const lines: number[] = [];
    const total = document.linesOf(block);
    document.eachLine(block, (text, line) => {
      if (line < total && this.matcher.matches(plainText(text))) lines.push(line);
    });
    this.count += lines.length - (this.found.get(block)?.lines.length ?? 0);
    this.found.set(block, { version: info.length, lines: Uint32Array.from(lines) });
  }

  /** The nearest found line after `from`, or before it; `null` `from`: the first or last one. */
  next(from: LineRef | null, isForward: boolean): LineRef | null {
    const key = from === null ? null : keyOf(from);
    const blocks = [...this.found.keys()].sort((a, b) => (isForward ? a - b : b - a));
    for (const block of blocks) {
      if (from !== null && (isForward ? block < from.block : block > from.block)) continue;
      const lines = this.found.get(block)?.lines ?? new Uint32Array();
      const isAfter = (line: number): boolean =>
        key === null || (isForward ? keyOf({ block, line }) > key : keyOf({ block, line }) < key);
      const line = isForward ? lines.find(isAfter) : lines.findLast(isAfter);
      if (line !== undefined) return { block, line };
    }
    return null;
  }

  /** The position of a found line among all found ones, from 1; 0 if it is none. */
  ordinal(ref: LineRef): number {
    const lines = this.found.get(ref.block)?.lines;
    const within = lines?.indexOf(ref.line) ?? -1;
    if (within === -1) return 0;
    let before = 0;
    for (const [block, found] of this.found) if (block < ref.block) before += found.lines.length;
    return before + within + 1;
  }
}
