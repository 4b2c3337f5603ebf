// The shown log of one attempt: connects what is loaded with the rows on the page, and knows what is folded and selected.

import { formatDuration } from "../domain/duration";
import { BLOCK } from "./block";
import { keyOf, type LineRef, type LogDocument } from "./document";
import { LogLoader } from "./loader";
import type { LogOptions } from "./options";
import { extended, formatRange, type LineRange } from "./range";
import { gapElement, lineElement } from "./row";
import { Rows, type Row } from "./rows";
import { PaneSearch } from "./pane_search";
import { failedOffset, failedSection, findSections, sectionAt, type Section, type Step } from "./sections";
import type { LogSource } from "./source";
import { formatClock } from "./times";
import { Viewport, type Alignment } from "./viewport";

/** Height of a row in pixels, as in the style sheet. */
const ROW_HEIGHT = 20;
/** Blocks that a gap in view loads. */
const GAP_STEP = 4;
/** The maximum number of kept row elements. */
const MAX_ELEMENTS = 600;
/** The maximum number of blocks that are read to find a line by its number. */
const MAX_LINE_BLOCKS = 64;

/** What is known of the job. */
export interface PaneJob {
  readonly steps: readonly Step[];
  readonly hasFailed: boolean;
  readonly hasEnded: boolean;
  readonly startMs: number | null;
}

export interface PaneEvents {
  /** Something that the controls show has changed. */
  readonly onChange: () => void;
  readonly onSelect: (range: LineRange | null) => void;
}

export class LogPane {
  readonly loader: LogLoader;
  readonly search: PaneSearch;
  sections: Section[] = [];
  selection: LineRange | null = null;
  /** The section around the first visible line, if its header is not in view. */
  current: Section | null = null;
  private readonly viewport: Viewport;
  private rows: Rows;
  /** Sections that the reader folded or unfolded, by their header. */
  private readonly folds = new Map<number, boolean>();
  private foldsSuccessful = false;
  private readonly elements = new Map<number, { signature: string; element: HTMLElement }>();
  private isOpened = false;
  /** The start stays in view until the reader moves on, also while it is being read. */
  private keepsStart = false;
  isLoadingAll = false;
  private setReady: () => void = () => undefined;
  /** Resolves when what is loaded first is there. */
  private readonly ready = new Promise<void>((resolve) => (this.setReady = resolve));
  private isScheduled = false;
  private wasPinned = false;
  private isDestroyed = false;
  private shownVersion = -1;

  constructor(
    scroller: HTMLElement,
    source: LogSource,
    private job: PaneJob,
    private options: LogOptions,
    private readonly events: PaneEvents,
  ) {
    this.loader = new LogLoader(source, () => this.schedule());
    this.rows = new Rows(this.document, []);
    this.search = new PaneSearch(this.loader, {
      onChange: () => this.redraw(),
      show: (ref) => this.showLine(ref, "center"),
      from: () => this.lineInView(),
    });
    this.viewport = new Viewport(scroller, this.rowSource(), ROW_HEIGHT, (byUser) => this.moved(byUser));
    this.viewport.wraps = options.wraps;
    this.loader.setSteps(job.steps);
    this.loadTimes();
  }

  get document(): LogDocument {
    return this.loader.document;
  }

  /** Number of bytes that were never read. */
  get missing(): number {
    let blocks = 0;
    for (const { from, to } of this.document.gaps()) blocks += to - from;
    return Math.min(this.document.size, blocks * BLOCK);
  }

  loadAll(): void {
    if (this.isLoadingAll) return;
    this.isLoadingAll = true;
    this.events.onChange();
    void this.loader
      .needAll(() => !this.isDestroyed)
      .then(() => {
        this.isLoadingAll = false;
        this.schedule();
      });
  }

  get isFollowing(): boolean {
    return this.viewport.isPinned && this.loader.state !== "ended";
  }

  start(size: number | null): void {
    void this.loader.start(size);
  }

  destroy(): void {
    this.isDestroyed = true;
    this.loader.stop();
    this.search.stop();
    this.viewport.destroy();
  }

  setJob(job: PaneJob): void {
    this.job = job;
    this.loader.setSteps(job.steps);
    this.rebuild();
  }

  setOptions(options: LogOptions): void {
    this.options = options;
    this.viewport.wraps = options.wraps;
    this.loadTimes();
    this.redraw();
  }

  /** Reads the times of lines if they are shown, and the numbers of lines after a gap. */
  private loadTimes(): void {
    const hasGap = this.document.contiguous < this.document.blockCount;
    if (this.options.times !== "off" || (hasGap && this.loader.state !== "loading"))
      void this.loader.loadMarks();
  }

  // Movements.

  toStart(): void {
    this.keepsStart = true;
    this.viewport.toRow(0);
    void this.loader.need({ from: 0, to: GAP_STEP });
  }

  toEnd(): void {
    this.viewport.toEnd();
    this.events.onChange();
  }

  /** Scrolls to a line, also if it is in a folded section. */
  showLine(ref: LineRef, alignment: Alignment): void {
    this.keepsStart = false;
    this.unfoldAround(ref);
    this.viewport.toRow(this.rows.rowOf(ref), alignment);
  }

  /** Scrolls to where the reader should look in a failed job: the failing command; whole if it fits, else its end. */
  showFailure(): boolean {
    const failed = failedSection(this.sections);
    if (failed === null) return false;
    this.folds.set(keyOf(failed.header), false);
    this.rebuild();
    const header = this.rows.rowOf(failed.header);
    const end = failed.end === null ? this.rows.count : this.rows.rowOf(failed.end);
    if (end - header < this.viewport.rowsInView) this.viewport.toRow(header);
    else this.viewport.toRow(end - 1, "end");
    return true;
  }

  showSection(section: Section): void {
    this.folds.set(keyOf(section.header), false);
    this.rebuild();
    this.showLine(section.header, "start");
  }

  /** The next or previous command. */
  showCommand(isForward: boolean): void {
    const row = this.viewport.firstRow;
    const of = (section: Section): number => this.rows.rowOf(section.header);
    const commands = this.sections.filter((section) => section.depth === 0);
    const next = isForward
      ? commands.find((section) => of(section) > row)
      : commands.findLast((section) => of(section) < row);
    if (next !== undefined) this.showLine(next.header, "start");
  }

  // Folds.

  isFolded(section: Section): boolean {
    const chosen = this.folds.get(keyOf(section.header));
    return chosen ?? (section.isCollapsed || (this.foldsSuccessful && section.exitCode === 0));
  }

  toggle(section: Section): void {
    this.folds.set(keyOf(section.header), !this.isFolded(section));
    this.rebuild();
  }

  foldAll(isFolded: boolean): void {
    for (const section of this.sections) this.folds.set(keyOf(section.header), isFolded);
    this.rebuild();
  }

  private unfoldAround(ref: LineRef): void {
    const key = keyOf(ref);
    let hasChanged = false;
    for (const section of this.sections) {
      const isAround = keyOf(section.header) < key && (section.end === null || key < keyOf(section.end));
      if (!isAround || !this.isFolded(section)) continue;
      this.folds.set(keyOf(section.header), false);
      hasChanged = true;
    }
    if (hasChanged) this.rebuild();
  }

  // Selected lines.

  /** Selects a range and scrolls to it, once that much of the log is known. */
  async open(range: LineRange): Promise<void> {
    this.selection = range;
    this.isOpened = true;
    this.redraw();
    const isWanted = (): boolean => this.selection === range && !this.isDestroyed;
    await this.ready;
    const ref = await this.find(range, isWanted);
    if (ref !== null && isWanted()) this.showLine(ref, "center");
  }

  private async find(range: LineRange, isWanted: () => boolean): Promise<LineRef | null> {
    if (range.unit === "byte") {
      const block = Math.floor(range.first / BLOCK);
      await this.loader.need({ from: block, to: block + 1 });
      return this.document.lineContaining(range.first);
    }
    if (this.document.lineWithNumber(range.first) === null) {
      await this.loader.loadMarks();
      const mark = this.loader.markBefore(range.first);
      const from = Math.floor((mark?.offset ?? 0) / BLOCK);
      const to = Math.floor((mark?.end ?? 0) / BLOCK) + 1;
      if (mark !== null && to - from <= MAX_LINE_BLOCKS) await this.loader.need({ from, to });
    }
    for (;;) {
      const found = this.document.lineWithNumber(range.first);
      const known = this.document.contiguous;
      if (found !== null || !isWanted() || known >= this.document.blockCount) return found;
      await this.loader.need({ from: known, to: known + 2 * GAP_STEP });
      if (this.document.contiguous === known) return null;
    }
  }

  /** Handles a click into the log. */
  clicked(target: Element, extendsSelection: boolean): boolean {
    const link = target.closest<HTMLElement>("[data-link]")?.dataset.link;
    if (link !== undefined) {
      this.selectLink(link, extendsSelection);
      return true;
    }
    const action = target.closest<HTMLElement>("[data-action]");
    const row = Number(target.closest<HTMLElement>(".log-row")?.dataset.row);
    const at = Number.isNaN(row) ? null : this.rows.at(row);
    if (action?.dataset.action === "fold" && at?.kind === "line") {
      const section = this.headers.get(keyOf(at.ref));
      if (section !== undefined) this.toggle(section);
    } else if (action?.dataset.action === "load-all") {
      this.loadAll();
    } else if (action?.dataset.action === "load-more" && at?.kind === "gap") {
      void this.loader.need({ from: Math.max(at.gap.from, at.gap.to - 4 * GAP_STEP), to: at.gap.to }, true);
    } else {
      return false;
    }
    return true;
  }

  private selectLink(link: string, extendsSelection: boolean): void {
    const unit = link.startsWith("L") ? "line" : "byte";
    const position = Number(link.slice(1));
    const { selection } = this;
    const isSame = selection?.unit === unit && selection.first === position && selection.last === position;
    if (extendsSelection) this.selection = extended(selection, unit, position);
    else this.selection = isSame ? null : extended(null, unit, position);
    this.events.onSelect(this.selection);
    this.redraw();
  }

  // Rows.

  private headers = new Map<number, Section>();

  private schedule(): void {
    if (this.isScheduled || this.isDestroyed) return;
    this.isScheduled = true;
    requestAnimationFrame(() => {
      this.isScheduled = false;
      if (this.isDestroyed) return;
      if (this.shownVersion === this.document.version) this.redraw();
      else this.rebuild();
      if (this.loader.state !== "loading") this.setReady();
      this.loadTimes();
      this.openFirst();
      this.search.update();
    });
  }

  /** Computes sections and rows anew, and keeps what is in view. */
  private rebuild(): void {
    const first = this.lineInView();
    this.shownVersion = this.document.version;
    this.sections = findSections(this.document, this.job.steps);
    this.headers = new Map(this.sections.map((section) => [keyOf(section.header), section]));
    this.rows = new Rows(
      this.document,
      this.sections.filter((section) => this.isFolded(section)),
    );
    this.viewport.setRows(this.rowSource(), first === null || this.keepsStart ? 0 : this.rows.rowOf(first));
    this.events.onChange();
  }

  private redraw(): void {
    this.viewport.render();
    this.events.onChange();
  }

  /** Chooses where to begin to read, once what is loaded first is there. */
  private openFirst(): void {
    if (this.isOpened || this.loader.state === "loading") return;
    this.isOpened = true;
    if (this.loader.state === "following" && !this.job.hasEnded) {
      this.viewport.toEnd();
    } else if (this.job.hasFailed) {
      this.foldsSuccessful = true;
      this.rebuild();
      if (!this.showFailure()) this.viewport.toEnd();
      void this.loadFailure();
    } else if (this.document.contiguous < this.document.blockCount) {
      this.viewport.toEnd();
    }
    this.events.onChange();
  }

  /** Reads the beginning of the failing command, if it is in a part of a long log that is not loaded. */
  private async loadFailure(): Promise<void> {
    const offset = failedOffset(this.job.steps);
    const block = Math.floor((offset ?? 0) / BLOCK);
    if (offset === null || this.document.isIndexed(block)) return;
    await this.loader.need({ from: block, to: block + 1 });
    if (this.isDestroyed || this.selection !== null) return;
    this.rebuild();
    this.showFailure();
  }

  /** The first visible line; below a gap at the top, the line after it. */
  private lineInView(): LineRef | null {
    for (let row = this.viewport.firstRow; row < this.rows.count; row++) {
      const at = this.rows.at(row);
      if (at?.kind === "line") return at.ref;
    }
    return null;
  }

  private rowSource(): { count: number; element: (row: number) => HTMLElement } {
    return { count: this.rows.count, element: (row) => this.element(row) };
  }

  private element(row: number): HTMLElement {
    const at = this.rows.at(row);
    if (at === null) return document.createElement("div");
    const key = at.kind === "line" ? keyOf(at.ref) : -1 - at.gap.from;
    const { signature, build } = at.kind === "line" ? this.lineRow(at.ref) : this.gapRow(at);
    let known = this.elements.get(key);
    if (known?.signature !== signature) {
      known = { signature, element: build() };
      this.elements.delete(key);
      this.elements.set(key, known);
      for (const oldest of this.elements.keys()) {
        if (this.elements.size <= MAX_ELEMENTS) break;
        this.elements.delete(oldest);
      }
    }
    if (known.element.dataset.row !== String(row)) known.element.dataset.row = String(row);
    return known.element;
  }

  private gapRow({ gap }: Extract<Row, { kind: "gap" }>): { signature: string; build: () => HTMLElement } {
    const bytes = Math.min(this.document.size, gap.to * BLOCK) - gap.from * BLOCK;
    const isLoading = this.loader.isReading(gap);
    const failure = this.loader.failureOf(gap);
    return {
      signature: `${bytes} ${isLoading} ${failure}`,
      build: () => gapElement(bytes, isLoading, failure),
    };
  }

  private lineRow(ref: LineRef): { signature: string; build: () => HTMLElement } {
    const { document: log, selection } = this;
    const section = this.headers.get(keyOf(ref)) ?? null;
    const around = section ?? sectionAt(this.sections, ref);
    const isFolded = section !== null && this.isFolded(section);
    const number = log.numberOf(ref);
    const offset = log.offsetOf(ref);
    const link = number !== null ? `L${number}` : offset === null ? null : `B${offset}`;
    const time = this.timeOf(offset, section);
    const position = selection?.unit === "line" ? number : offset;
    const isSelected =
      selection !== null && position !== null && selection.first <= position && position <= selection.last;
    const isCurrentMatch = this.search.isCurrent(ref);
    const depth = around === null ? 0 : around.depth;
    const signature = [
      log.extentOf(ref),
      JSON.stringify(log.styleAt(ref)),
      link,
      time,
      isSelected,
      isCurrentMatch,
      depth,
      isFolded,
      section?.exitCode,
      section?.durationMs,
      this.search.revision,
    ].join();
    const build = (): HTMLElement =>
      lineElement({
        line: log.line(ref),
        number,
        link,
        time,
        section,
        isFolded,
        depth,
        isSelected,
        isCurrentMatch,
        matcher: this.search.matcher,
      });
    return { signature, build };
  }

  private timeOf(offset: number | null, section: Section | null): string | null {
    const { times } = this.options;
    if (times === "off") return null;
    const { startMs } = this.job;
    const timeMs = section?.timeMs ?? (offset === null ? null : this.loader.times.at(offset));
    if (times === "clock") return timeMs === null ? "" : formatClock(timeMs);
    if (timeMs !== null && startMs !== null) return formatDuration(timeMs - startMs);
    return "";
  }

  /** After a movement, reads what is in view. */
  private moved(byUser: boolean): void {
    if (byUser) this.keepsStart = false;
    const first = this.viewport.firstRow;
    for (let row = first; row < first + this.viewport.rowsInView + 2 && row < this.rows.count; row++) {
      const at = this.rows.at(row);
      if (at?.kind === "line") {
        const needed = this.document.blocksOf(at.ref);
        if (!this.document.areCached(needed)) void this.loader.need(needed);
      } else if (at?.kind === "gap" && byUser) {
        // Reads the side of the gap that comes into view first.
        const { from, to } = at.gap;
        const isAbove = row < first + this.viewport.rowsInView / 2;
        void this.loader.need(
          isAbove ? { from: Math.max(from, to - GAP_STEP), to } : { from, to: Math.min(to, from + GAP_STEP) },
        );
      }
    }
    const ref = this.lineInView();
    const around = ref === null ? null : sectionAt(this.sections, ref);
    const current = ref !== null && around !== null && keyOf(around.header) !== keyOf(ref) ? around : null;
    const isPinned = this.viewport.isPinned;
    if (current !== this.current || isPinned !== this.wasPinned) {
      this.current = current;
      this.wasPinned = isPinned;
      this.events.onChange();
    }
  }
}

/** The text of a selection for the address. */
export function selectionText(range: LineRange | null): string {
  return range === null ? "" : formatRange(range);
}
