// Blocks: ranges of a log with a fixed size, which are read, indexed and forgotten each for itself. What is stored of a block for good is
// small; its bytes are cached within a limit.

import { styleOf } from "./escape";
import { findMarker, MAX_MARKER, MAY_BE_MARKER, type MarkerKind } from "./markers";
import { combine, UNCHANGED, type Style } from "./style";

/** The size of a block in bytes. */
export const BLOCK = 256 * 1024;
/** The maximum number of markers of one block. */
const MAX_MARKERS = 2000;
/** The end of a block that may have an unfinished control sequence. */
const MAX_REST = 64;

const NEWLINE = 0x0a;
const ESCAPE = 0x1b;

/** A line with a meaning for the structure of the log. */
export type Marker = MarkerKind & {
  /** Position of the line among those of its block. */
  readonly line: number;
  /** Its first byte, from the block's start. */
  readonly start: number;
};

/** What is known of a block that was read. */
export interface BlockInfo {
  readonly length: number;
  /** Number of lines that start in it. A line belongs to the block with the newline before it. */
  readonly lines: number;
  /** Start of the first of these lines, from the block's start; -1 if there is none. */
  readonly firstStart: number;
  readonly lastStart: number;
  /** The effect of its control sequences on the style. */
  readonly style: Style;
  readonly markers: readonly Marker[];
  /** Its first bytes, for a line that begins at the end of the block before. */
  readonly head: Uint8Array;
  /** The beginning of its last line, if that may be a marker which continues in the next block. */
  readonly openLine: Uint8Array | null;
  /** An unfinished control sequence at its end. */
  readonly rest: string;
}

/** The bytes of a block, with where its lines start. */
export interface BlockText {
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
  /** The style at the start of each line, as an effect since the block's start; `null` if it has no control sequence. */
  readonly styles: () => readonly Style[] | null;
}

const latin = new TextDecoder("latin1");

/** Indexes the bytes of block `index`. */
export function indexBlock(index: number, bytes: Uint8Array): { info: BlockInfo; text: BlockText } {
  const starts = lineStarts(bytes, index === 0);
  const markers: Marker[] = [];
  let openLine: Uint8Array | null = null;
  for (let line = 0; line < starts.length; line++) {
    const start = starts[line] ?? 0;
    const end = starts[line + 1] ?? bytes.length;
    const isOpen = line + 1 === starts.length && bytes.length - start < MAX_MARKER;
    if (isOpen) openLine = bytes.slice(start, end);
    else if (MAY_BE_MARKER[bytes[start] ?? 0] && markers.length < MAX_MARKERS)
      addMarker(markers, { line, start }, bytes.subarray(start, end));
  }
  const hasEscape = bytes.includes(ESCAPE);
  const { style, rest } = hasEscape ? styleOf(latin.decode(bytes)) : { style: UNCHANGED, rest: "" };
  const info: BlockInfo = {
    length: bytes.length,
    lines: starts.length,
    firstStart: starts[0] ?? -1,
    lastStart: starts[starts.length - 1] ?? -1,
    style,
    markers,
    head: bytes.slice(0, MAX_MARKER),
    openLine,
    rest: rest.length <= MAX_REST ? rest : "",
  };
  return {
    info,
    text: { bytes, starts, styles: hasEscape ? once(() => lineStyles(bytes, starts)) : () => null },
  };
}

/** Returns `info` with what continues in the next block, whose first bytes are `head`: a marker, and a control sequence. */
export function joined(info: BlockInfo, head: Uint8Array): BlockInfo {
  let result = info;
  if (info.openLine !== null) {
    const line = new Uint8Array(info.openLine.length + head.length);
    line.set(info.openLine);
    line.set(head, info.openLine.length);
    const end = line.indexOf(NEWLINE);
    const markers = [...info.markers];
    const at = { line: info.lines - 1, start: info.lastStart };
    addMarker(markers, at, end === -1 ? line : line.subarray(0, end));
    result = { ...result, markers, openLine: null };
  }
  if (info.rest !== "") {
    const { style } = styleOf(info.rest + latin.decode(head.subarray(0, MAX_REST)).replace(/\n.*/s, "\n"));
    result = { ...result, style: combine(info.style, style), rest: "" };
  }
  return result;
}

function addMarker(markers: Marker[], at: { line: number; start: number }, bytes: Uint8Array): void {
  const marker = findMarker(bytes);
  if (marker !== null) markers.push({ ...marker, ...at });
}

function lineStarts(bytes: Uint8Array, isFirst: boolean): Uint32Array {
  let count = isFirst ? 1 : 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  const starts = new Uint32Array(count);
  let next = isFirst ? 1 : 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1))
    starts[next++] = at + 1;
  return starts;
}

function once<Value>(compute: () => Value): () => Value {
  let value: Value | undefined;
  return () => (value ??= compute());
}

function lineStyles(bytes: Uint8Array, starts: Uint32Array): Style[] {
  const styles: Style[] = [];
  let style = UNCHANGED;
  let from = 0;
  for (const start of starts) {
    const part = bytes.subarray(from, start);
    if (part.includes(ESCAPE)) style = combine(style, styleOf(latin.decode(part)).style);
    styles.push(style);
    from = start;
  }
  return styles;
}
