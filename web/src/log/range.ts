// Links to lines: `L10`, `L10-L20`, and `B4096-B8192` by bytes for lines whose number is not known yet.

/** Lines by number from 1, or by the offset of their first byte; both ends included. */
export interface LineRange {
  readonly unit: "line" | "byte";
  readonly first: number;
  readonly last: number;
}

const PATTERN = /^#?([LB])(\d{1,15})(?:-\1?(\d{1,15}))?$/;

/** Reads the fragment of an address. */
export function parseRange(text: string): LineRange | null {
  const match = PATTERN.exec(text);
  if (match === null) return null;
  const first = Number(match[2]);
  const last = match[3] === undefined ? first : Number(match[3]);
  const unit = match[1] === "L" ? "line" : "byte";
  if (unit === "line" && Math.min(first, last) < 1) return null;
  return { unit, first: Math.min(first, last), last: Math.max(first, last) };
}

export function formatRange({ unit, first, last }: LineRange): string {
  const letter = unit === "line" ? "L" : "B";
  return first === last ? `${letter}${first}` : `${letter}${first}-${letter}${last}`;
}

/** The range that also reaches `position`; only that position if the units differ. */
export function extended(range: LineRange | null, unit: LineRange["unit"], position: number): LineRange {
  if (range?.unit !== unit) return { unit, first: position, last: position };
  const anchor = range.first;
  return { unit, first: Math.min(anchor, position), last: Math.max(anchor, position) };
}
