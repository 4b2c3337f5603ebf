// The element of one row. All text is set as text, never as markup.

import { textColour } from "./contrast";
import { formatBytes, formatDuration } from "../domain/duration";
import type { ShownLine } from "./document";
import { safeHref, type Span } from "./line";
import type { Matcher } from "./search";
import type { Section } from "./sections";
import { cssColour } from "./style";

/** What a row of a line shows. */
export interface LineRow {
  /** `null` while its bytes are read. */
  readonly line: ShownLine | null;
  readonly number: number | null;
  /** The link to the line, such as `L10`. */
  readonly link: string | null;
  readonly time: string | null;
  readonly section: Section | null;
  readonly isFolded: boolean;
  readonly depth: number;
  readonly isSelected: boolean;
  readonly isCurrentMatch: boolean;
  readonly matcher: Matcher | null;
}

const PLAIN_LINK = /\bhttps?:\/\/[^\s<>"'`\\^{|}]{1,1000}/g;
/** What may follow an address in prose. */
const AFTER_LINK = /[.,;:!?)\]]+$/;

export function lineElement(row: LineRow): HTMLElement {
  const element = document.createElement("div");
  element.className = "log-row";
  if (row.isSelected) element.classList.add("selected");
  if (row.isCurrentMatch) element.classList.add("current");
  if (row.section !== null) element.classList.add("log-header", `log-${row.section.kind}`);
  element.style.setProperty("--depth", String(row.depth));
  element.append(numberElement(row));
  if (row.time !== null) element.append(span("log-time", row.time));
  element.append(foldElement(row), textElement(row));
  if (row.section !== null) element.append(...stateElements(row.section));
  return element;
}

/** The row of a part of the log that is not loaded. */
export function gapElement(bytes: number, isLoading: boolean, failure: string | null): HTMLElement {
  const element = document.createElement("div");
  element.className = "log-row log-gap";
  const text = `${formatBytes(bytes)} of the log are not loaded`;
  element.append(span("", isLoading ? `${text}; loading…` : failure === null ? text : `${text}: ${failure}`));
  for (const [action, label] of [
    ["load-more", failure === null || isLoading ? "Load more" : "Try again"],
    ["load-all", "Load all"],
  ] as const) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.dataset.action = action;
    button.textContent = label;
    element.append(button);
  }
  return element;
}

function numberElement(row: LineRow): HTMLElement {
  const link = document.createElement("a");
  link.className = "log-number";
  link.tabIndex = -1;
  link.dataset.number = row.number === null ? "·" : String(row.number);
  link.setAttribute("aria-label", row.number === null ? "Link to this line" : `Line ${row.number}`);
  if (row.link !== null) {
    link.dataset.link = row.link;
    link.href = `${location.pathname}${location.search}#${row.link}`;
  }
  return link;
}

function foldElement(row: LineRow): HTMLElement {
  if (row.section === null) return span("log-fold", "");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "log-fold";
  button.dataset.action = "fold";
  button.setAttribute("aria-expanded", String(!row.isFolded));
  button.setAttribute("aria-label", `${kindText(row.section)} ${row.section.title}`);
  return button;
}

export function kindText(section: Section): string {
  return { command: "Command", group: "Group", service: "Log of the service" }[section.kind];
}

/** Exit state and duration of a section. */
export function stateElements(section: Section): HTMLElement[] {
  const elements: HTMLElement[] = [];
  if (section.exitCode !== null) {
    const isFailed = section.exitCode !== 0;
    elements.push(
      span(isFailed ? "log-state failed" : "log-state", isFailed ? `✗ exit code ${section.exitCode}` : "✓"),
    );
  }
  if (section.durationMs !== null)
    elements.push(span("log-state number", formatDuration(section.durationMs)));
  return elements;
}

function textElement({ line, section, matcher }: LineRow): HTMLElement {
  if (line === null) return span("log-text waiting", "…");
  const text = span("log-text", "");
  const isGroup = section?.kind === "group";
  const spans: readonly Span[] = isGroup ? [{ text: section.title, style: {}, href: null }] : line.spans;
  const marks = matcher === null || isGroup ? [] : matcher.ranges(line.text);
  let start = 0;
  let mark = 0;
  for (const part of spans) {
    const parent = spanElement(part);
    const end = start + part.text.length;
    let at = start;
    while (at < end) {
      const range = marks[mark];
      if (range === undefined || range.start >= end) {
        appendText(parent, part.text.slice(at - start), part.href === null);
        at = end;
      } else if (range.start > at) {
        appendText(parent, part.text.slice(at - start, range.start - start), part.href === null);
        at = range.start;
      } else {
        const stop = Math.min(range.end, end);
        const found = document.createElement("mark");
        found.textContent = part.text.slice(at - start, stop - start);
        parent.append(found);
        at = stop;
        if (range.end <= end) mark++;
      }
    }
    text.append(parent);
    start = end;
  }
  if (line.leftOut > 0) text.append(span("log-left-out", ` … ${formatBytes(line.leftOut)} more`));
  return text;
}

function spanElement({ style, href }: Span): HTMLElement {
  const element = href === null ? document.createElement("span") : linkElement(href);
  const isInverse = style.inverse === true;
  const foreground = isInverse ? (style.background ?? null) : (style.foreground ?? null);
  const background = isInverse ? (style.foreground ?? null) : (style.background ?? null);
  // Bold text of the eight dark colours stays dark, as in most terminals of today.
  if (foreground !== null) element.style.color = textColour(foreground);
  else if (isInverse) element.style.color = "var(--log-background)";
  if (background !== null) element.style.background = cssColour(background, isInverse ? "colour" : "fill");
  else if (isInverse) element.style.background = "var(--log-text)";
  if (style.bold) element.classList.add("bold");
  if (style.dim && foreground === null) element.classList.add("faint");
  if (style.italic) element.classList.add("italic");
  if (style.underline) element.classList.add("underline");
  if (style.strike) element.classList.add("strike");
  return element;
}

function linkElement(href: string): HTMLAnchorElement {
  const link = document.createElement("a");
  link.href = href;
  link.title = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

/** Appends text, with links for the addresses in it. */
function appendText(parent: HTMLElement, text: string, hasLinks: boolean): void {
  if (!hasLinks || !text.includes("://")) {
    parent.append(text);
    return;
  }
  let at = 0;
  for (const match of text.matchAll(PLAIN_LINK)) {
    const address = match[0].replace(AFTER_LINK, "");
    const href = safeHref(address);
    if (href === null) continue;
    const link = linkElement(href);
    link.textContent = address;
    parent.append(text.slice(at, match.index), link);
    at = match.index + address.length;
  }
  parent.append(text.slice(at));
}

function span(className: string, text: string): HTMLElement {
  const element = document.createElement("span");
  if (className !== "") element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}
