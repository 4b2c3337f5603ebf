// Finds the control sequences of terminals in text. A library is not used for this: those that are small give HTML, or know SGR only and
// leave other sequences in the text; those that know everything emulate a whole screen. None gives the effect of a part of a log whose
// beginning is not loaded.

import { combine, RESET, select, UNCHANGED, type Style } from "./style";

/** A control sequence. */
export type Sequence =
  | { readonly kind: "control"; readonly parameters: string; readonly final: string; readonly end: number }
  | { readonly kind: "command"; readonly body: string; readonly end: number }
  | { readonly kind: "other"; readonly end: number }
  | { readonly kind: "incomplete"; readonly end: number };

/** The maximum length of a sequence; what is longer is shown as text. */
export const MAX_SEQUENCE = 4096;

const ESCAPE = 0x1b;
const BELL = 0x07;

/** Reads the sequence that starts with ESC at `start`. `end` is where the text after it begins. */
export function readSequence(text: string, start: number): Sequence {
  const next = text.charCodeAt(start + 1);
  if (Number.isNaN(next)) return { kind: "incomplete", end: start + 1 };
  switch (text[start + 1]) {
    case "[":
      return readControl(text, start + 2);
    case "]":
    case "P":
    case "X":
    case "^":
    case "_":
      return readString(text, start + 2, text[start + 1] === "]");
    default:
      return readShort(text, start + 1);
  }
}

/** `ESC [`, parameters, intermediate bytes, final byte. */
function readControl(text: string, start: number): Sequence {
  const limit = Math.min(text.length, start + MAX_SEQUENCE);
  let at = start;
  while (at < limit && isBetween(text.charCodeAt(at), 0x30, 0x3f)) at++;
  const parameters = text.slice(start, at);
  const isPlain = !isBetween(text.charCodeAt(at), 0x20, 0x2f);
  while (at < limit && isBetween(text.charCodeAt(at), 0x20, 0x2f)) at++;
  if (at >= text.length) return { kind: "incomplete", end: at };
  if (!isBetween(text.charCodeAt(at), 0x40, 0x7e)) return { kind: "other", end: at };
  if (!isPlain) return { kind: "other", end: at + 1 };
  return { kind: "control", parameters, final: text.charAt(at), end: at + 1 };
}

/** A string up to BEL or `ESC \`. Without an end, only what introduces it is removed, so that it cannot hide the text after it. */
function readString(text: string, start: number, isCommand: boolean): Sequence {
  const limit = Math.min(text.length, start + MAX_SEQUENCE);
  for (let at = start; at < limit; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x0a) break;
    if (code === BELL || (code === ESCAPE && text[at + 1] === "\\")) {
      const end = at + (code === BELL ? 1 : 2);
      return isCommand ? { kind: "command", body: text.slice(start, at), end } : { kind: "other", end };
    }
  }
  return { kind: "other", end: start };
}

/** `ESC`, intermediate bytes, final byte: character sets, keypad, saved cursor. */
function readShort(text: string, start: number): Sequence {
  const limit = Math.min(text.length, start + 8);
  let at = start;
  while (at < limit && isBetween(text.charCodeAt(at), 0x20, 0x2f)) at++;
  if (at >= text.length) return { kind: "incomplete", end: at };
  return { kind: "other", end: isBetween(text.charCodeAt(at), 0x30, 0x7e) ? at + 1 : at };
}

function isBetween(code: number, low: number, high: number): boolean {
  return code >= low && code <= high;
}

/** Returns the effect of all style sequences of `text`, and the unfinished sequence at its end. */
export function styleOf(text: string): { style: Style; rest: string } {
  // What stands before a reset has no effect.
  const reset = Math.max(text.lastIndexOf("\x1b[0m"), text.lastIndexOf("\x1b[m"));
  let style = reset === -1 ? UNCHANGED : RESET;
  for (let at = text.indexOf("\x1b", reset + 1); at !== -1;) {
    const sequence = readSequence(text, at);
    if (sequence.kind === "incomplete") return { style, rest: text.slice(at) };
    if (sequence.kind === "control" && sequence.final === "m" && isSelection(sequence.parameters))
      style = combine(style, select(sequence.parameters));
    at = text.indexOf("\x1b", sequence.end);
  }
  return { style, rest: "" };
}

/** Whether the parameters of a sequence with the final byte `m` are of styles; private ones such as `>4;1` are not. */
export function isSelection(parameters: string): boolean {
  return !/[<=>?]/.test(parameters);
}
