// A log as it is known so far: blocks in any order, some of them cached.

import { BLOCK, indexBlock, joined, type BlockInfo, type BlockText } from "./block";
import { terminalLine, type TerminalLine } from "./line";
import { combine, UNCHANGED, type Style } from "./style";
import { lastAt } from "./times";

/** The maximum number of cached bytes. */
const MAX_CACHED = 48 * 1024 * 1024;
/** The maximum number of bytes of a line that are shown. */
export const MAX_LINE = 16 * 1024;

/** A line: its block, and its position among the lines that start there. */
export interface LineRef {
  readonly block: number;
  readonly line: number;
}

/** Blocks that were not read. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** How many line ends are before an offset. */
export interface Anchor {
  readonly offset: number;
  readonly line: number;
}

/** What a line shows. */
export interface ShownLine extends TerminalLine {
  /** Number of bytes that are not shown. */
  readonly leftOut: number;
}

const utf8 = new TextDecoder();

/** A number that identifies a line and orders lines. */
export function keyOf({ block, line }: LineRef): number {
  return block * (2 * BLOCK) + line;
}

export class LogDocument {
  /** Number of bytes of the log, as far as known. */
  size = 0;
  private readonly blocks: (BlockInfo | undefined)[] = [];
  /** Bytes by block; the last used one is last. */
  private readonly cache = new Map<number, BlockText>();
  private cachedBytes = 0;
  /** Number of known lines before each block; `starts[n]` is also the number of all. */
  private starts: number[] = [0];
  /** The style at the start of each block. */
  private styles: Style[] = [];
  private contiguousBlocks = 0;
  /** Known places of lines, by ascending offset. */
  private anchors: readonly Anchor[] = [];
  /** Number of line ends before a block, of those that had an anchor when their bytes were there. */
  private readonly lineEnds = new Map<number, number>();
  /** By block, what to add to the position of a line for its number; `null` if that is not known. */
  private shifts: (number | null)[] = [];
  private isCounted = true;
  /** Counts changes, for those who store what they computed. */
  version = 0;

  constructor(private readonly maxCached = MAX_CACHED) {}

  get blockCount(): number {
    return Math.ceil(this.size / BLOCK);
  }

  /** Records that the log has at least `size` bytes. */
  grow(size: number): void {
    if (size <= this.size) return;
    this.size = size;
    this.changed();
  }

  /** Stores the bytes of a block: all of them, or for the last block those that there are. */
  put(index: number, bytes: Uint8Array): void {
    const { info, text } = indexBlock(index, bytes);
    this.grow(index * BLOCK + bytes.length);
    const next = this.blocks[index + 1];
    this.blocks[index] = next && info.length === BLOCK ? joined(info, next.head) : info;
    const before = this.blocks[index - 1];
    if (before?.length === BLOCK) this.blocks[index - 1] = joined(before, info.head);
    this.store(index, text);
    this.anchor(index);
    this.changed();
  }

  /** Sets known places of lines, so that lines after a gap have numbers, too. */
  setAnchors(anchors: readonly Anchor[]): void {
    this.anchors = anchors;
    for (const index of this.cache.keys()) this.anchor(index);
    this.changed();
  }

  private anchor(index: number): void {
    const starts = this.cache.get(index)?.starts;
    const anchor = this.anchors[lastAt(this.anchors, (index + 1) * BLOCK - 1)];
    if (starts === undefined || anchor === undefined || anchor.offset < index * BLOCK) return;
    // In the first block, the start of the log is the start of a line without a line end before it.
    const before = countUpTo(starts, anchor.offset - index * BLOCK) - (index === 0 ? 1 : 0);
    this.lineEnds.set(index, anchor.line - before);
  }

  /** Stores bytes from `offset`, which continue what is known or start a block. Returns the offset after them. */
  append(offset: number, bytes: Uint8Array): number {
    let at = offset;
    let rest = bytes;
    while (rest.length > 0) {
      const index = Math.floor(at / BLOCK);
      const known = at - index * BLOCK;
      const part = rest.subarray(0, BLOCK - known);
      const whole = new Uint8Array(known + part.length);
      if (known > 0) {
        const before = this.cache.get(index);
        if (before === undefined || before.bytes.length < known) return index * BLOCK;
        whole.set(before.bytes.subarray(0, known));
      }
      whole.set(part, known);
      this.put(index, whole);
      at += part.length;
      rest = rest.subarray(part.length);
    }
    return at;
  }

  info(index: number): BlockInfo | undefined {
    return this.blocks[index];
  }

  /** Whether all bytes of a block were indexed. */
  isIndexed(index: number): boolean {
    const info = this.blocks[index];
    return info !== undefined && info.length >= Math.min(BLOCK, this.size - index * BLOCK);
  }

  isCached(index: number): boolean {
    return this.cache.has(index);
  }

  areCached({ from, to }: Gap): boolean {
    for (let block = from; block < to; block++) if (!this.cache.has(block)) return false;
    return true;
  }

  get cachedSize(): number {
    return this.cachedBytes;
  }

  /** Number of lines that start in a block. The empty rest after the log's last newline is no line. */
  linesOf(index: number): number {
    const info = this.blocks[index];
    if (info === undefined) return 0;
    const isLast = index === this.blockCount - 1;
    return isLast && info.lastStart === info.length && info.lines > 0 ? info.lines - 1 : info.lines;
  }

  /** Number of known lines before a block. */
  linesBefore(index: number): number {
    this.count();
    return this.starts[Math.min(index, this.starts.length - 1)] ?? 0;
  }

  /** Number of known lines. */
  get lineCount(): number {
    return this.linesBefore(this.blockCount);
  }

  /** Number of blocks from the start without a gap. */
  get contiguous(): number {
    this.count();
    return this.contiguousBlocks;
  }

  gaps(): Gap[] {
    const gaps: Gap[] = [];
    for (let index = 0; index < this.blockCount; index++) {
      if (this.blocks[index] !== undefined) continue;
      const from = index;
      while (index < this.blockCount && this.blocks[index] === undefined) index++;
      gaps.push({ from, to: index });
    }
    return gaps;
  }

  /** The known line with this position among all known ones. */
  lineAt(position: number): LineRef {
    this.count();
    let low = 0;
    let high = this.blockCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.starts[middle] ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    // Blocks without lines have the same start as the next one.
    while (low > 0 && this.linesOf(low) === 0) low--;
    return { block: low, line: position - (this.starts[low] ?? 0) };
  }

  /** The position of a line among all known ones. */
  positionOf({ block, line }: LineRef): number {
    return this.linesBefore(block) + line;
  }

  /** The number of a line, from 1, if everything before it or an anchor near it is known. */
  numberOf(ref: LineRef): number | null {
    this.count();
    const shift = this.shifts[ref.block] ?? null;
    return shift === null ? null : this.positionOf(ref) + 1 + shift;
  }

  /** The line with this number, if it is known. */
  lineWithNumber(number: number): LineRef | null {
    this.count();
    for (let block = 0; block < this.blockCount; block++) {
      const shift = this.shifts[block] ?? null;
      if (shift === null) continue;
      const position = number - 1 - shift;
      const from = this.starts[block] ?? 0;
      if (from <= position && position < from + this.linesOf(block)) return { block, line: position - from };
    }
    return null;
  }

  /** Offset of the first byte of a line, if its block is cached. */
  offsetOf({ block, line }: LineRef): number | null {
    const start = this.cache.get(block)?.starts[line];
    return start === undefined ? null : block * BLOCK + start;
  }

  /** The line that contains this byte, if its block is cached and the line starts in it or in a known block before. */
  lineContaining(offset: number): LineRef | null {
    let block = Math.min(Math.floor(offset / BLOCK), this.blockCount - 1);
    const starts = this.cache.get(block)?.starts;
    if (starts === undefined) return null;
    let line = countUpTo(starts, offset - block * BLOCK) - 1;
    while (line < 0 && block > 0 && this.blocks[block - 1] !== undefined) line = this.linesOf(--block) - 1;
    return line < 0 ? null : { block, line };
  }

  /** The offset after a line without its newline, and whether that is certain. */
  private endOf({ block, line }: LineRef, starts: Uint32Array): { end: number; isCertain: boolean } {
    const next = starts[line + 1];
    if (next !== undefined) return { end: block * BLOCK + next - 1, isCertain: true };
    let index = block + 1;
    for (; index < this.blockCount; index++) {
      const info = this.blocks[index];
      if (info === undefined) return { end: index * BLOCK, isCertain: false };
      if (info.firstStart >= 0) return { end: index * BLOCK + info.firstStart - 1, isCertain: true };
    }
    return { end: this.size, isCertain: true };
  }

  /** The end of a line and whether its bytes are cached: what it shows changes only with these. */
  extentOf(ref: LineRef): string {
    const starts = this.cache.get(ref.block)?.starts;
    if (starts === undefined) return "";
    return `${this.endOf(ref, starts).end} ${this.areCached(this.blocksOf(ref))}`;
  }

  /** The blocks that have the bytes of a line. */
  blocksOf(ref: LineRef): Gap {
    const starts = this.cache.get(ref.block)?.starts;
    if (starts === undefined) return { from: ref.block, to: ref.block + 1 };
    const start = ref.block * BLOCK + (starts[ref.line] ?? 0);
    const { end } = this.endOf(ref, starts);
    const last = Math.min(end, start + MAX_LINE, this.size) - 1;
    return { from: ref.block, to: Math.max(ref.block, Math.floor(last / BLOCK)) + 1 };
  }

  /** What a line shows; `null` if its bytes are not cached. */
  line(ref: LineRef): ShownLine | null {
    const raw = this.rawLine(ref);
    return raw === null ? null : { ...terminalLine(raw.text, this.styleAt(ref)), leftOut: raw.leftOut };
  }

  /** The text of a line with its control characters; `null` if its bytes are not cached. */
  rawLine(ref: LineRef): { text: string; leftOut: number } | null {
    const text = this.used(ref.block);
    const first = text?.starts[ref.line];
    if (text === undefined || first === undefined) return null;
    const start = ref.block * BLOCK + first;
    const { end, isCertain } = this.endOf(ref, text.starts);
    const length = Math.max(0, end - start);
    if (length <= MAX_LINE) {
      const bytes = this.bytes(start, end);
      return bytes === null
        ? null
        : { text: utf8.decode(bytes, { stream: false }), leftOut: isCertain ? 0 : 1 };
    }
    const head = this.bytes(start, start + MAX_LINE);
    if (head === null) return null;
    // Of progress that overwrites itself, the end is what a terminal shows.
    const tail = head.includes(0x0d) ? this.bytes(end - MAX_LINE, end) : null;
    const restart = tail === null ? -1 : tail.indexOf(0x0d);
    if (tail !== null && restart !== -1) return { text: utf8.decode(tail.subarray(restart)), leftOut: 0 };
    return { text: new TextDecoder().decode(head, { stream: true }), leftOut: length - MAX_LINE };
  }

  /** Calls `visit` with the text of each line of a cached block. The last one ends with what is cached. */
  eachLine(block: number, visit: (text: string, line: number) => void): void {
    const text = this.cache.get(block);
    const first = text?.starts[0];
    const last = text?.starts[text.starts.length - 1];
    if (text === undefined || first === undefined || last === undefined) return;
    const all = utf8.decode(text.bytes.subarray(first, last)).split("\n");
    for (let line = 0; line + 1 < text.starts.length; line++) {
      const raw = all[line] ?? "";
      visit(raw.length <= MAX_LINE ? raw : (this.rawLine({ block, line })?.text ?? ""), line);
    }
    const line = text.starts.length - 1;
    visit(
      this.rawLine({ block, line })?.text ?? utf8.decode(text.bytes.subarray(last, last + MAX_LINE)),
      line,
    );
  }

  /** The style at the start of a line. */
  styleAt({ block, line }: LineRef): Style {
    this.count();
    return combine(this.styles[block] ?? UNCHANGED, this.cache.get(block)?.styles()?.[line] ?? UNCHANGED);
  }

  /** Bytes of the log; `null` if they are not cached. */
  private bytes(start: number, end: number): Uint8Array | null {
    const first = Math.floor(start / BLOCK);
    if (end <= (first + 1) * BLOCK)
      return this.used(first)?.bytes.subarray(start - first * BLOCK, end - first * BLOCK) ?? null;
    const result = new Uint8Array(end - start);
    for (let at = start; at < end;) {
      const index = Math.floor(at / BLOCK);
      const part = this.used(index)?.bytes.subarray(at - index * BLOCK, end - index * BLOCK);
      if (part === undefined || part.length === 0) return null;
      result.set(part, at - start);
      at += part.length;
    }
    return result;
  }

  private used(index: number): BlockText | undefined {
    const text = this.cache.get(index);
    if (text !== undefined) {
      this.cache.delete(index);
      this.cache.set(index, text);
    }
    return text;
  }

  private store(index: number, text: BlockText): void {
    this.cachedBytes += text.bytes.length - (this.cache.get(index)?.bytes.length ?? 0);
    this.cache.delete(index);
    this.cache.set(index, text);
    for (const [oldest, { bytes }] of this.cache) {
      // The last block stays: what is printed next continues it.
      if (this.cachedBytes <= this.maxCached || this.cache.size <= 2) break;
      if (oldest === this.blockCount - 1 || oldest === index) continue;
      this.cache.delete(oldest);
      this.cachedBytes -= bytes.length;
    }
  }

  private count(): void {
    if (this.isCounted) return;
    this.isCounted = true;
    this.starts = [0];
    this.styles = [UNCHANGED];
    this.contiguousBlocks = 0;
    for (let index = 0; index < this.blockCount; index++) {
      const info = this.blocks[index];
      if (info !== undefined && this.contiguousBlocks === index) this.contiguousBlocks++;
      this.starts.push((this.starts[index] ?? 0) + this.linesOf(index));
      // After a gap, the style is not known.
      this.styles.push(info === undefined ? UNCHANGED : combine(this.styles[index] ?? UNCHANGED, info.style));
    }
    this.countShifts();
  }

  /** Finds by how much numbers and positions differ, in each range of blocks without a gap. */
  private countShifts(): void {
    this.shifts = [];
    for (let from = 0; from < this.blockCount;) {
      let to = from;
      let shift = from === 0 && this.contiguousBlocks > 0 ? 0 : null;
      for (; to < this.blockCount && this.blocks[to] !== undefined; to++) {
        const ends = this.lineEnds.get(to);
        // A line that starts in a block follows a line end in it.
        if (shift === null && ends !== undefined) shift = ends + 1 - (this.starts[to] ?? 0);
      }
      for (; from < to; from++) this.shifts.push(shift);
      if (from < this.blockCount) {
        this.shifts.push(null);
        from++;
      }
    }
  }

  private changed(): void {
    this.isCounted = false;
    this.version++;
  }
}

/** How many of the ascending `starts` are at most `offset`. */
function countUpTo(starts: Uint32Array, offset: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
