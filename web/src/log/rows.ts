// Rows of the page: the known lines that are not folded, and a row for each gap.

import { keyOf, type Gap, type LineRef, type LogDocument } from "./document";
import type { Section } from "./sections";

export type Row =
  { readonly kind: "line"; readonly ref: LineRef } | { readonly kind: "gap"; readonly gap: Gap };

/** Consecutive rows: lines from `position`, or one gap. */
interface Part {
  readonly row: number;
  readonly position: number;
  readonly count: number;
  readonly gap: Gap | null;
}

export class Rows {
  private readonly parts: Part[] = [];
  readonly count: number;

  constructor(
    private readonly document: LogDocument,
    folded: readonly Section[],
  ) {
    const hidden = hiddenRanges(document, folded);
    let row = 0;
    let position = 0;
    let next = 0;
    const add = (end: number): void => {
      while (position < end) {
        const range = hidden[next];
        if (range !== undefined && range.to <= position) {
          next++;
        } else if (range !== undefined && range.from <= position) {
          position = Math.min(range.to, end);
        } else {
          const stop = Math.min(end, range?.from ?? end);
          this.parts.push({ row, position, count: stop - position, gap: null });
          row += stop - position;
          position = stop;
        }
      }
    };
    for (const gap of document.gaps()) {
      const at = document.linesBefore(gap.from);
      add(at);
      const isHidden = hidden.some(({ from, to }) => from < at && at < to);
      if (!isHidden) this.parts.push({ row: row++, position: at, count: 1, gap });
    }
    add(document.lineCount);
    this.count = row;
  }

  /** The row with this position, or the nearest one. */
  at(row: number): Row | null {
    const part = this.part((part) => part.row <= row);
    if (part === null) return null;
    if (part.gap !== null) return { kind: "gap", gap: part.gap };
    const within = Math.max(0, Math.min(row - part.row, part.count - 1));
    return { kind: "line", ref: this.document.lineAt(part.position + within) };
  }

  /** The row of a line; for a folded line, the row before it. */
  rowOf(ref: LineRef): number {
    const position = this.document.positionOf(ref);
    const part = this.part((part) => part.position <= position);
    if (part === null) return 0;
    if (part.gap !== null) return Math.min(part.row + 1, Math.max(0, this.count - 1));
    return part.row + Math.min(position - part.position, part.count - 1);
  }

  /** The row of the gap with this block; -1 if there is none. */
  rowOfGap(block: number): number {
    return this.parts.find(({ gap }) => gap !== null && gap.from <= block && block < gap.to)?.row ?? -1;
  }

  /** The last part that `holds`, which is true of the first ones only. */
  private part(holds: (part: Part) => boolean): Part | null {
    let low = 0;
    let high = this.parts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const part = this.parts[middle];
      if (part !== undefined && holds(part)) low = middle + 1;
      else high = middle;
    }
    return this.parts[Math.max(0, low - 1)] ?? null;
  }
}

/** The positions of lines that `folded` sections hide, in order and without overlaps. */
function hiddenRanges(document: LogDocument, folded: readonly Section[]): { from: number; to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (const section of [...folded].sort((a, b) => keyOf(a.header) - keyOf(b.header))) {
    const from = document.positionOf(section.header) + 1;
    const to = section.end === null ? document.lineCount : document.positionOf(section.end);
    const last = ranges[ranges.length - 1];
    if (last !== undefined && to <= last.to) continue;
    if (to > from) ranges.push({ from: Math.max(from, last?.to ?? 0), to });
  }
  return ranges;
}
