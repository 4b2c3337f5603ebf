// Shows some of many rows in an element that scrolls. Browsers limit the height of an element, so a long log's scrollbar is scaled:
// it moves over fewer pixels than the rows have, and small movements are applied to the rows as they are.

/** The maximum height of an element; browsers allow about 17 million pixels. */
const MAX_HEIGHT = 8_000_000;
/** Rows above and below those that are visible. */
const OVERSCAN = 24;
/** When the scrollbar's position is adjusted after a movement. */
const SETTLE_MS = 150;

export interface RowSource {
  readonly count: number;
  /** Returns the element of a row. The same one is returned while the row shows the same. */
  element(row: number): HTMLElement;
}

export type Alignment = "start" | "center" | "end";

export class Viewport {
  private readonly sizer = document.createElement("div");
  private readonly content = document.createElement("div");
  private readonly resized: ResizeObserver;
  private readonly stopped = new AbortController();
  /** The first visible row, and how far above the top of the viewport it begins. */
  private row = 0;
  private offset = 0;
  /** Whether the end stays in view. */
  private isAtEnd = false;
  private lastTop = 0;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private from = 0;
  private shown: HTMLElement[] = [];
  private contentTop = 0;
  private contentHeight = 0;
  /** Height of a row; the average one if lines wrap. */
  private average: number;
  wraps = false;

  constructor(
    readonly scroller: HTMLElement,
    private rows: RowSource,
    private readonly rowHeight: number,
    private readonly onMove: (byUser: boolean) => void,
  ) {
    this.average = rowHeight;
    this.sizer.className = "log-sizer";
    this.content.className = "log-content";
    this.sizer.append(this.content);
    scroller.replaceChildren(this.sizer);
    scroller.addEventListener("scroll", () => this.scrolled(), {
      passive: true,
      signal: this.stopped.signal,
    });
    this.resized = new ResizeObserver(() => this.render());
    this.resized.observe(scroller);
  }

  destroy(): void {
    this.resized.disconnect();
    this.stopped.abort();
    clearTimeout(this.settling);
  }

  get firstRow(): number {
    return this.row;
  }

  get height(): number {
    return this.scroller.clientHeight;
  }

  /** Number of rows that fit. */
  get rowsInView(): number {
    return Math.max(1, Math.floor(this.height / this.rowHeight));
  }

  get isPinned(): boolean {
    return this.isAtEnd;
  }

  /** Shows other rows. `row` is where the first visible one is now. */
  setRows(rows: RowSource, row: number): void {
    this.rows = rows;
    this.row = Math.max(0, Math.min(row, rows.count - 1));
    this.render();
  }

  toEnd(): void {
    this.isAtEnd = true;
    this.render();
  }

  toRow(row: number, alignment: Alignment = "start"): void {
    this.isAtEnd = false;
    this.row = Math.max(0, Math.min(row, this.rows.count - 1));
    const space = this.height - this.rowHeight;
    this.offset = alignment === "start" ? 0 : alignment === "center" ? -space / 2 : -space;
    this.render();
  }

  /** Draws the rows around the first visible one. */
  render(): void {
    const { count } = this.rows;
    const inView = this.rowsInView + 2;
    if (count === 0) {
      this.place([], 0);
      this.sizer.style.height = "0";
      return;
    }
    if (this.isAtEnd) this.row = Math.max(0, count - inView);
    this.row = Math.min(this.row, count - 1);
    const above = Math.max(OVERSCAN, Math.ceil(-this.offset / this.rowHeight) + 2);
    const from = Math.max(0, this.row - above);
    const to = Math.min(count, this.row + inView + OVERSCAN);
    const elements: HTMLElement[] = [];
    for (let row = from; row < to; row++) elements.push(this.rows.element(row));
    this.place(elements, from);
    this.contentHeight = this.content.offsetHeight;
    this.average = this.wraps ? this.contentHeight / elements.length : this.rowHeight;
    this.sizer.style.height = `${this.scrollHeight}px`;
    this.settle();
    this.onMove(false);
  }

  /** Puts elements into the page; those that are there already are not touched, which keeps selected text. */
  private place(elements: HTMLElement[], from: number): void {
    const wanted = new Set<Element>(elements);
    for (const child of [...this.content.children]) if (!wanted.has(child)) child.remove();
    let next = this.content.firstChild;
    for (const element of elements) {
      if (element === next) next = next.nextSibling;
      else this.content.insertBefore(element, next);
    }
    this.shown = elements;
    this.from = from;
  }

  /** Moves the drawn rows to where they belong, and the scrollbar too. */
  private settle(): void {
    const first = this.shown[this.row - this.from];
    if (first === undefined) return;
    const hasLast = this.from + this.shown.length === this.rows.count;
    const highest = Math.max(0, this.contentHeight - this.height);
    // The top of the viewport in pixels from the top of the drawn rows.
    let top = first.offsetTop + this.offset;
    if (hasLast && (this.isAtEnd || top > highest)) top = highest;
    if (this.from === 0 && top < 0) top = 0;
    this.anchor(top);
    if (this.isWhole) {
      this.setScrollTop(top);
      this.moveContent(0);
      return;
    }
    if (this.isAtEnd) this.setScrollTop(this.maxTop);
    else if (this.isExact) this.setScrollTop(this.scrollTopOfAnchor);
    else this.adjustSoon();
    if (this.scroller.scrollTop < top) this.setScrollTop(top);
    this.moveContent(this.scroller.scrollTop - top);
  }

  private moveContent(top: number): void {
    this.contentTop = top;
    this.content.style.transform = `translateY(${top}px)`;
  }

  /** Takes the row at `top` of the drawn rows as the first visible one. */
  private anchor(top: number): void {
    let low = 0;
    let high = this.shown.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.shown[middle]?.offsetTop ?? 0) <= top) low = middle;
      else high = middle - 1;
    }
    const above = low === 0 ? Math.min(0, top) : 0;
    this.row = this.from + low;
    this.offset = above < 0 ? above : top - (this.shown[low]?.offsetTop ?? 0);
  }

  private scrolled(): void {
    const { scrollTop } = this.scroller;
    const delta = scrollTop - this.lastTop;
    if (Math.abs(delta) < 1) return;
    this.lastTop = scrollTop;
    if (this.isWhole || (!this.isExact && Math.abs(delta) <= 2 * this.height)) {
      this.moveBy(scrollTop - this.contentTop);
    } else {
      const ratio = this.isExact ? 1 : (this.totalHeight - this.height) / Math.max(1, this.maxTop);
      const position = scrollTop * ratio;
      this.row = Math.floor(position / this.average);
      this.offset = position - this.row * this.average;
    }
    const isLast = this.isExact || this.isWhole || this.row + 2 * this.rowsInView >= this.rows.count;
    this.isAtEnd = delta > 0 && isLast && scrollTop >= this.maxTop - 1;
    this.render();
    this.onMove(true);
  }

  /** Takes what is at `top` of the drawn rows as the top, also if that is beyond them. */
  private moveBy(top: number): void {
    if (top >= 0 && top <= this.contentHeight) {
      this.anchor(top);
      return;
    }
    const beyond = top < 0 ? top : top - this.contentHeight;
    const edge = top < 0 ? this.from : this.from + this.shown.length;
    const row = edge + Math.trunc(beyond / this.average);
    this.row = Math.max(0, Math.min(this.rows.count - 1, row));
    this.offset = 0;
  }

  /** Puts the scrollbar where it belongs: at once if it could reach an end too early, else after the movement. */
  private adjustSoon(): void {
    clearTimeout(this.settling);
    const adjust = (): void => {
      const before = this.scroller.scrollTop;
      this.setScrollTop(this.scrollTopOfAnchor);
      this.moveContent(this.contentTop + this.scroller.scrollTop - before);
    };
    const { scrollTop } = this.scroller;
    if (scrollTop < this.height || scrollTop > this.maxTop - this.height)
      this.setScrollTop(this.scrollTopOfAnchor);
    else this.settling = setTimeout(adjust, SETTLE_MS);
  }

  private setScrollTop(top: number): void {
    if (Math.abs(this.scroller.scrollTop - top) >= 1) this.scroller.scrollTop = top;
    this.lastTop = this.scroller.scrollTop;
  }

  /** Whether all rows are drawn. */
  private get isWhole(): boolean {
    return this.from === 0 && this.shown.length === this.rows.count;
  }

  /** Whether a pixel of the scrollbar is a pixel of the rows. */
  private get isExact(): boolean {
    return !this.wraps && this.totalHeight <= MAX_HEIGHT;
  }

  private get totalHeight(): number {
    return this.isWhole ? this.contentHeight : this.rows.count * this.average;
  }

  private get scrollHeight(): number {
    return Math.min(this.totalHeight, MAX_HEIGHT);
  }

  private get maxTop(): number {
    return Math.max(0, this.scrollHeight - this.height);
  }

  private get scrollTopOfAnchor(): number {
    const position = this.row * this.average + this.offset;
    if (this.isExact) return Math.max(0, Math.min(position, this.maxTop));
    return (position / Math.max(1, this.totalHeight - this.height)) * this.maxTop;
  }
}
