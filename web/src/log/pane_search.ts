// The searches of a shown log: what the reader looks for, and errors.

import { BLOCK } from "./block";
import { keyOf, type LineRef } from "./document";
import type { LogLoader } from "./loader";
import { ERRORS, Matcher, Search, type Progress, type Query } from "./search";

/** Up to so many bytes are read for a search without being asked. */
const MAX_READ = 32 * 1024 * 1024;

export interface SearchEvents {
  readonly onChange: () => void;
  readonly show: (ref: LineRef) => void;
  /** Where the reader is. */
  readonly from: () => LineRef | null;
}

export class PaneSearch {
  query: Query = { text: "", isRegex: false, matchesCase: false };
  /** What is wrong with the query. */
  error: string | null = null;
  /** Counts changes of what is marked. */
  revision = 0;
  private search: Search | null = null;
  private errors: Search | null = null;
  private currentRef: LineRef | null = null;
  private isRunning = false;
  private readsAll = false;

  constructor(
    private readonly loader: LogLoader,
    private readonly events: SearchEvents,
  ) {}

  stop(): void {
    this.search?.stop();
    this.errors?.stop();
  }

  get matcher(): Matcher | null {
    return this.search?.matcher ?? null;
  }

  get progress(): Progress | null {
    return this.search?.progress ?? null;
  }

  get isBusy(): boolean {
    return this.isRunning;
  }

  /** Bytes that were not searched, as they are not loaded. */
  get unread(): number {
    return this.search === null ? 0 : unreadOf(this.search);
  }

  /** The position of the current match, from 1; 0 if there is none. */
  get position(): number {
    return this.currentRef === null ? 0 : (this.search?.ordinal(this.currentRef) ?? 0);
  }

  isCurrent(ref: LineRef): boolean {
    return this.currentRef !== null && keyOf(this.currentRef) === keyOf(ref);
  }

  set(query: Query): void {
    this.query = query;
    this.search?.stop();
    this.search = null;
    this.currentRef = null;
    this.readsAll = false;
    this.revision++;
    const matcher = Matcher.of(query);
    this.error = typeof matcher === "string" ? matcher : null;
    if (matcher instanceof Matcher) {
      this.search = new Search(this.loader, matcher, () => this.events.onChange());
      void this.run(true);
    }
    this.events.onChange();
  }

  /** Also searches what is not loaded, however much that is. */
  searchAll(): void {
    this.readsAll = true;
    void this.run(false);
  }

  /** Searches what was loaded since. */
  update(): void {
    if (this.search !== null && !this.isRunning) void this.run(false);
  }

  private async run(showsFirst: boolean): Promise<void> {
    const { search } = this;
    if (search === null) return;
    this.isRunning = true;
    await search.run(false);
    if (showsFirst && this.search === search) this.showNext(search, this.before(), true);
    if (this.readsAll || unreadOf(search) <= MAX_READ) await search.run(true);
    if (this.search !== search) return;
    this.isRunning = false;
    if (showsFirst && this.currentRef === null) this.showNext(search, this.before(), true);
    this.events.onChange();
  }

  /** Where a search begins: before what is in view. */
  private before(): LineRef | null {
    const from = this.events.from();
    return from === null ? null : { block: from.block, line: from.line - 1 };
  }

  /** Goes to the next match, or the one before; after the last one comes the first. */
  next(isForward: boolean): void {
    if (this.search !== null) this.showNext(this.search, this.currentRef ?? this.events.from(), isForward);
  }

  /** Goes to the next error of the log, or the one before. Returns whether there is one. */
  async nextError(isForward: boolean, fromStart: boolean): Promise<boolean> {
    const matcher = Matcher.of(ERRORS);
    if (!(matcher instanceof Matcher)) return false;
    this.errors ??= new Search(this.loader, matcher, () => undefined);
    await this.errors.run(unreadOf(this.errors) <= MAX_READ);
    return this.showNext(this.errors, fromStart ? null : (this.currentRef ?? this.events.from()), isForward);
  }

  private showNext(search: Search, from: LineRef | null, isForward: boolean): boolean {
    const found = search.next(from, isForward) ?? search.next(null, isForward);
    if (found === null) return false;
    this.currentRef = found;
    this.events.show(found);
    this.events.onChange();
    return true;
  }
}

function unreadOf(search: Search): number {
  const { blocks, searched } = search.progress;
  return (blocks - searched) * BLOCK;
}
