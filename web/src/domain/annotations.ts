// The annotations of an execution, as they are shown.
import type { JobAnnotation } from "../api/types";

/** The annotations of one file. */
export interface AnnotatedFile {
  /** `null`: of no file. */
  readonly path: string | null;
  readonly annotations: readonly JobAnnotation[];
}

/** Groups annotations by file. Files are in the order of their most severe annotation; those of no file are first. */
export function groupByFile(annotations: readonly JobAnnotation[]): AnnotatedFile[] {
  const files = new Map<string | null, JobAnnotation[]>();
  for (const annotation of annotations) {
    const path = annotation.path ?? null;
    const known = files.get(path);
    if (known === undefined) files.set(path, [annotation]);
    else known.push(annotation);
  }
  const groups = [...files].map(([path, of]) => ({ path, annotations: of }));
  return [...groups.filter((group) => group.path === null), ...groups.filter((group) => group.path !== null)];
}

/** The lines of an annotation, such as `3:5` and `3–9`. */
export function linesOf(annotation: JobAnnotation): string {
  const { line, column, end_line: end } = annotation;
  if (line == null) return "";
  if (end != null) return `${line}–${end}`;
  return column == null ? `${line}` : `${line}:${column}`;
}

/** The number of annotations by level, such as `1 failure, 2 warnings`. */
export function countText(counts: {
  failures: number;
  warnings: number;
  notices: number;
  left_out: number;
}): string {
  const of = (number: number, one: string): string[] =>
    number === 0 ? [] : [`${number} ${one}${number === 1 ? "" : "s"}`];
  const more = counts.left_out === 0 ? [] : [`${counts.left_out} more`];
  return [
    ...of(counts.failures, "failure"),
    ...of(counts.warnings, "warning"),
    ...of(counts.notices, "notice"),
    ...more,
  ].join(", ");
}

/** The address of a line of a commit at a provider whose addresses are known; `null` elsewhere. */
export function sourceAddress(
  repo: string,
  commit: string | null | undefined,
  annotation: JobAnnotation,
): string | null {
  const match = /^https:\/\/(github\.com|gitlab\.com)\/([\w./-]+?)(?:\.git)?$/.exec(repo);
  if (match === null || commit == null || !/^[0-9a-f]{40,64}$/.test(commit) || annotation.path == null)
    return null;
  const [, host, name] = match;
  const infix = host === "gitlab.com" ? "/-/blob" : "/blob";
  const path = annotation.path.split("/").map(encodeURIComponent).join("/");
  const line = annotation.line == null ? "" : `#L${annotation.line}`;
  return `https://${host}/${name}${infix}/${commit}/${path}${line}`;
}
