// Lines that structure a log: commands, the logs of services, and the groups that scripts for GitLab and GitHub print. A job can print
// such lines itself; they structure its own log and decide nothing.

import { plainText } from "./line";

export type MarkerKind =
  /** A command that the worker shows before it runs. */
  | { readonly kind: "command"; readonly title: string }
  /** `section_start:TIME:NAME[options]`, or `::group::TITLE`. */
  | {
      readonly kind: "group";
      readonly name: string;
      readonly title: string;
      readonly timeMs: number | null;
      readonly isCollapsed: boolean;
    }
  | { readonly kind: "group_end"; readonly name: string; readonly timeMs: number | null }
  /** The end of a service's log, which the worker copies. */
  | { readonly kind: "service"; readonly name: string }
  | { readonly kind: "service_end" };

/** The maximum length of a marker in bytes. */
export const MAX_MARKER = 512;
const MAX_TITLE = 200;

const utf8 = new TextDecoder();

/** Whether a line with this first byte may be a marker. */
export const MAY_BE_MARKER: readonly boolean[] = Array.from({ length: 256 }, (_, byte) =>
  "$-:s\x1b".includes(String.fromCharCode(byte)),
);

/** How markers begin: each line is compared with these, so that few are decoded. */
const PREFIXES = [
  "$ ",
  "---",
  "::group::",
  "::endgroup::",
  "section_",
  "\x1b[0Ksection_",
  "\x1b[Ksection_",
].map((text) => new TextEncoder().encode(text));

const GROUP =
  /^(?:\x1b\[0?K)?section_start:(\d{1,12}):([\w.-]{1,128})(?:\[([^\]]{0,128})\])?\r?(?:\x1b\[0?K)?(.*)$/s; // eslint-disable-line no-control-regex
const GROUP_END = /^(?:\x1b\[0?K)?section_end:(\d{1,12}):([\w.-]{1,128})\r?/; // eslint-disable-line no-control-regex
const SERVICE = /^--- the end of the log of the service `([^`]{1,200})`$/;

/** Returns what the line `bytes` is, if it is a marker. */
export function findMarker(bytes: Uint8Array): MarkerKind | null {
  if (!PREFIXES.some((prefix) => prefix.every((byte, at) => byte === bytes[at]))) return null;
  const line = utf8.decode(bytes.subarray(0, MAX_MARKER)).replace(/\r?\n$/, "");
  if (line.startsWith("$ ")) return { kind: "command", title: titleOf(line.slice(2)) };
  if (line === "---") return { kind: "service_end" };
  const service = SERVICE.exec(line);
  if (service) return { kind: "service", name: service[1] ?? "" };
  if (line.startsWith("::group::"))
    return { kind: "group", name: "", title: titleOf(line.slice(9)), timeMs: null, isCollapsed: false };
  if (line === "::endgroup::") return { kind: "group_end", name: "", timeMs: null };
  const start = GROUP.exec(line);
  if (start) {
    const [, seconds = "0", name = "", options = "", header = ""] = start;
    const title = titleOf(header) || name;
    return {
      kind: "group",
      name,
      title,
      timeMs: timeOf(seconds),
      isCollapsed: /\bcollapsed=true\b/.test(options),
    };
  }
  const end = GROUP_END.exec(line);
  return end ? { kind: "group_end", name: end[2] ?? "", timeMs: timeOf(end[1] ?? "0") } : null;
}

function timeOf(seconds: string): number {
  return Number(seconds) * 1000;
}

function titleOf(text: string): string {
  return plainText(text).trim().slice(0, MAX_TITLE);
}
