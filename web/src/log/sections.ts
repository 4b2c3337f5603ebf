// Sections of a log: commands with their duration and exit state, groups that scripts print, and the logs of services.

import { BLOCK } from "./block";
import { keyOf, type LineRef, type LogDocument } from "./document";

/** A command of the job's script, as the API gives it. */
export interface Step {
  /** Position of its first item in the script, from 0. */
  readonly index: number;
  readonly exit_code?: number | null;
  readonly duration_ms?: number | null;
  readonly started_at?: string | null;
  /** Offset of its first line in the log. */
  readonly log_offset?: number | null;
}

export type SectionKind = "command" | "group" | "service";

export interface Section {
  readonly kind: SectionKind;
  readonly header: LineRef;
  /** The line after its last one; `null`: the end of the log. */
  readonly end: LineRef | null;
  readonly title: string;
  /** Number of sections around it. */
  readonly depth: number;
  readonly durationMs: number | null;
  /** Exit code of a command that has ended; `null` if that is not known. */
  readonly exitCode: number | null;
  /** When a command began, since the script's start. */
  readonly sinceStartMs: number | null;
  /** When it began, as the worker measured it or the script printed it. */
  readonly timeMs: number | null;
  readonly isCollapsed: boolean;
}

/** The maximum number of sections of a log. */
const MAX_SECTIONS = 20_000;
/** The maximum number of groups in each other. */
const MAX_DEPTH = 8;

type Draft = { -readonly [K in keyof Section]: Section[K] } & { name: string };

/** Returns the sections that the known blocks show. `steps` are those of this attempt, in order. */
export function findSections(document: LogDocument, steps: readonly Step[]): Section[] {
  return new Finder(document, steps).find();
}

/** The section that ended with a code other than 0. */
export function failedSection(sections: readonly Section[]): Section | null {
  return sections.find((section) => section.exitCode !== null && section.exitCode !== 0) ?? null;
}

/** The innermost section around a line, or that begins there. */
export function sectionAt(sections: readonly Section[], ref: LineRef): Section | null {
  const key = keyOf(ref);
  let at = lastBefore(sections, key);
  for (; at >= 0; at--) {
    const section = sections[at];
    if (section === undefined) break;
    if (section.end === null || keyOf(section.end) > key) return section;
    // Before a section without one around it, none reaches further.
    if (section.depth === 0) break;
  }
  return null;
}

/** Index of the last section that begins at or before a line. */
export function lastBefore(sections: readonly Section[], key: number): number {
  let low = 0;
  let high = sections.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const section = sections[middle];
    if (section !== undefined && keyOf(section.header) <= key) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Offset of the command that failed, if it is known. */
export function failedOffset(steps: readonly Step[]): number | null {
  return steps.find(({ exit_code }) => exit_code != null && exit_code !== 0)?.log_offset ?? null;
}

class Finder {
  private readonly found: Draft[] = [];
  private open: Draft[] = [];
  /** Number of command lines so far; unknown after a gap. */
  private commands: number | null = 0;
  private readonly byIndex: Map<number, { step: Step; sinceStartMs: number | null }>;
  private readonly lastIndex: number;
  /** Steps by the offset of their first line, if the worker reported these. */
  private readonly byOffset = new Map<number, { step: Step; sinceStartMs: number | null }>();
  private readonly lastOffset: number;
  /** The line after the last command line. */
  private afterCommand: LineRef | null = null;

  constructor(
    private readonly document: LogDocument,
    steps: readonly Step[],
  ) {
    let since: number | null = 0;
    this.byIndex = new Map();
    for (const step of steps) {
      const known = { step, sinceStartMs: since };
      this.byIndex.set(step.index, known);
      if (step.log_offset != null) this.byOffset.set(step.log_offset, known);
      since = since === null || step.duration_ms == null ? null : since + step.duration_ms;
    }
    this.lastIndex = steps[steps.length - 1]?.index ?? -1;
    this.lastOffset = Math.max(-1, ...this.byOffset.keys());
  }

  find(): Section[] {
    for (let block = 0; block < this.document.blockCount; block++) {
      const info = this.document.info(block);
      if (info === undefined) {
        this.commands = null;
        continue;
      }
      for (const marker of info.markers) {
        if (this.found.length >= MAX_SECTIONS) return this.found;
        const at = { block, line: marker.line };
        switch (marker.kind) {
          case "command":
            if (this.byOffset.size > 0) this.placedCommand(at, block * BLOCK + marker.start, marker.title);
            else this.command(at, marker.title);
            break;
          case "group":
            if (this.open.length < MAX_DEPTH)
              this.begin("group", at, marker.title, {
                name: marker.name,
                timeMs: marker.timeMs,
                isCollapsed: marker.isCollapsed,
              });
            break;
          case "group_end":
            this.endGroup(marker.name, after(this.document, at), marker.timeMs);
            break;
          case "service":
            this.endAll(at);
            this.begin("service", at, marker.name, {});
            break;
          case "service_end":
            if (this.open[0]?.kind === "service") this.endAll(after(this.document, at));
            break;
        }
      }
    }
    return this.found;
  }

  /** A line that looks like a command, in a log whose steps have places: other lines before the last step are output. */
  private placedCommand(at: LineRef, offset: number, title: string): void {
    const known = this.byOffset.get(offset);
    const continues = this.afterCommand !== null && keyOf(this.afterCommand) === keyOf(at);
    const isOutput = known === undefined && (offset < this.lastOffset || continues);
    if (known !== undefined || continues) this.afterCommand = after(this.document, at);
    if (isOutput || (known === undefined && this.open[0]?.kind === "service")) return;
    // What follows the last step is the `after_script`, whose commands have no places.
    this.afterCommand = after(this.document, at);
    this.beginCommand(at, title, known);
  }

  private command(at: LineRef, title: string): void {
    if (this.open[0]?.kind === "service") return;
    const position = this.commands;
    if (this.commands !== null) this.commands++;
    const known = position === null ? undefined : this.byIndex.get(position);
    // Further items of a command that several items form together.
    if (position !== null && known === undefined && position < this.lastIndex && this.open.length > 0) return;
    this.beginCommand(at, title, known);
  }

  private beginCommand(
    at: LineRef,
    title: string,
    known: { step: Step; sinceStartMs: number | null } | undefined,
  ): void {
    const startedAt = known?.step.started_at;
    this.endAll(at);
    this.begin("command", at, title, {
      durationMs: known?.step.duration_ms ?? null,
      exitCode: known?.step.exit_code ?? null,
      sinceStartMs: known?.sinceStartMs ?? null,
      timeMs: startedAt == null ? null : Date.parse(startedAt),
    });
  }

  private begin(kind: SectionKind, header: LineRef, title: string, more: Partial<Draft>): void {
    const draft: Draft = {
      kind,
      header,
      end: null,
      title,
      depth: this.open.length,
      durationMs: null,
      exitCode: null,
      sinceStartMs: null,
      timeMs: null,
      isCollapsed: false,
      name: "",
      ...more,
    };
    this.open.push(draft);
    this.found.push(draft);
  }

  private endGroup(name: string, at: LineRef, timeMs: number | null): void {
    const index = this.open.findLastIndex((draft) => draft.kind === "group" && draft.name === name);
    if (index === -1) return;
    const group = this.open[index];
    if (group?.timeMs != null && timeMs !== null) group.durationMs = Math.max(0, timeMs - group.timeMs);
    for (const draft of this.open.splice(index)) draft.end = at;
  }

  private endAll(at: LineRef): void {
    for (const draft of this.open) draft.end = at;
    this.open = [];
  }
}

/** The line after `ref`. It may not exist yet. */
function after(document: LogDocument, { block, line }: LineRef): LineRef {
  if (line + 1 < document.linesOf(block) || block + 1 >= document.blockCount)
    return { block, line: line + 1 };
  return { block: block + 1, line: 0 };
}
