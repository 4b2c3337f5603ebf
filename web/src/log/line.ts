// Shows one line as a terminal does: styles, links, carriage returns, backspaces, erased parts. The result is text with styles, never
// markup.

import { isSelection, readSequence } from "./escape";
import { combine, select, UNCHANGED, type Style } from "./style";

/** A part of a line with one style. */
export interface Span {
  readonly text: string;
  readonly style: Style;
  /** The address of a link, `http` or `https` only. */
  readonly href: string | null;
}

export interface TerminalLine {
  readonly text: string;
  readonly spans: readonly Span[];
}

/** The rightmost column that a movement of the cursor reaches. */
const MAX_COLUMN = 2000;
/** The maximum number of spans; the rest of the line has one style. */
const MAX_SPANS = 2000;
const MAX_HREF = 2048;
const TAB = 8;

/** What needs more than to be shown: control characters without the tab. */
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/;

/** Returns what a terminal shows for the line `text` that begins with `style`. */
export function terminalLine(text: string, style: Style = UNCHANGED): TerminalLine {
  const line = text.endsWith("\r") ? text.slice(0, -1) : text;
  if (!CONTROLS.test(line))
    return { text: line, spans: line === "" ? [] : [{ text: line, style, href: null }] };
  const row = new Row(style);
  row.write(line);
  return row.finish();
}

/** Returns the text that a terminal shows for a line. */
export function plainText(text: string): string {
  return CONTROLS.test(text) ? terminalLine(text).text : text;
}

/** Returns the address if a link to it is safe: the web's schemes only, and no user name that looks like a host. */
export function safeHref(address: string): string | null {
  if (address.length > MAX_HREF || !/^https?:\/\//i.test(address)) return null;
  try {
    const url = new URL(address);
    const isSafe =
      (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
    return isSafe ? url.href : null;
  } catch {
    return null;
  }
}

/** One row of a terminal: cells, and a cursor. */
class Row {
  private readonly cells: string[] = [];
  private readonly styles: Style[] = [];
  private readonly links: (string | null)[] = [];
  private column = 0;
  private href: string | null = null;

  constructor(private style: Style) {}

  write(text: string): void {
    for (let at = 0; at < text.length;) {
      const code = text.codePointAt(at) ?? 0;
      if (code === 0x1b) {
        at = this.sequence(text, at);
        continue;
      }
      const length = code > 0xffff ? 2 : 1;
      if (code >= 0xa0 || (code >= 0x20 && code < 0x7f)) this.put(text.slice(at, at + length));
      else if (code === 0x0d) this.column = 0;
      else if (code === 0x08) this.column = Math.max(0, this.column - 1);
      else if (code === 0x09) this.moveTo((Math.floor(this.column / TAB) + 1) * TAB);
      at += length;
    }
  }

  finish(): TerminalLine {
    const spans: Span[] = [];
    let start = 0;
    for (let at = 1; at <= this.cells.length; at++) {
      const isSame = this.styles[at] === this.styles[start] && this.links[at] === this.links[start];
      const isLast = at === this.cells.length;
      if (!isLast && (isSame || spans.length >= MAX_SPANS)) continue;
      spans.push({
        text: this.cells.slice(start, at).join(""),
        style: this.styles[start] ?? UNCHANGED,
        href: this.links[start] ?? null,
      });
      start = at;
    }
    return { text: this.cells.join(""), spans };
  }

  private put(character: string): void {
    this.fill();
    this.cells[this.column] = character;
    this.styles[this.column] = this.style;
    this.links[this.column] = this.href;
    this.column++;
  }

  /** Adds blanks up to the cursor. */
  private fill(): void {
    while (this.cells.length < this.column) {
      this.cells.push(" ");
      this.styles.push(UNCHANGED);
      this.links.push(null);
    }
  }

  /** Moves the cursor; text may be longer than the rightmost column that a movement reaches. */
  private moveTo(column: number): void {
    this.column = Math.max(0, Math.min(column, Math.max(MAX_COLUMN, this.cells.length)));
  }

  private sequence(text: string, start: number): number {
    const found = readSequence(text, start);
    if (found.kind === "command" && found.body.startsWith("8;")) {
      const address = found.body.slice(2).replace(/^[^;]*;?/, "");
      this.href = address === "" ? null : safeHref(address);
    } else if (found.kind === "control") {
      this.control(found.final, found.parameters);
    }
    return found.end;
  }

  private control(final: string, parameters: string): void {
    const number = Number.parseInt(parameters, 10);
    const count = Number.isNaN(number) ? 1 : Math.max(1, number);
    switch (final) {
      case "m":
        if (isSelection(parameters)) this.style = combine(this.style, select(parameters));
        break;
      case "C":
      case "a":
        this.moveTo(this.column + count);
        break;
      case "D":
        this.moveTo(this.column - count);
        break;
      case "G":
      case "`":
        this.moveTo(count - 1);
        break;
      case "K":
        this.erase(Number.isNaN(number) ? 0 : number);
        break;
    }
  }

  private erase(part: number): void {
    if (part === 0) this.truncate(this.column);
    else if (part === 1) this.blank(Math.min(this.column + 1, this.cells.length));
    else if (part === 2) this.truncate(0);
  }

  private truncate(length: number): void {
    if (length >= this.cells.length) return;
    for (const list of [this.cells, this.styles, this.links]) list.length = length;
  }

  private blank(end: number): void {
    this.cells.fill(" ", 0, end);
    this.styles.fill(UNCHANGED, 0, end);
    this.links.fill(null, 0, end);
  }
}
