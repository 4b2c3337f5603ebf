// Files of artifacts: how they are shown.

/** How a page shows a file; `null`: it is only saved. */
export type FileKind = "page" | "image" | "text";

/** The maximum number of characters of a text that are shown. */
export const MAX_TEXT = 1024 * 1024;
/** The maximum size of a file that is shown, in bytes. */
const MAX_SHOWN = 8 * 1024 * 1024;

const ENDINGS: Readonly<Record<FileKind, readonly string[]>> = {
  page: ["html", "htm", "xhtml"],
  image: ["png", "jpg", "jpeg", "gif", "webp", "svg", "ico"],
  text: [
    ..."txt log md xml csv tsv yml yaml toml info diff patch out err json map sarif css js mjs".split(" "),
  ],
};

/** How the file at `path` is shown, by the ending of its name. */
export function fileKind(path: string): FileKind | null {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const ending = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).toLowerCase() : "";
  for (const kind of ["page", "image", "text"] as const) if (ENDINGS[kind].includes(ending)) return kind;
  return null;
}

/** Whether a file can be shown; a larger one is only saved. */
export function isShown({ path, size }: { readonly path: string; readonly size: number }): boolean {
  const kind = fileKind(path);
  return kind === "page" || (kind !== null && size <= MAX_SHOWN);
}

/** The path of the API for a file of an artifact. */
export function fileAddress(artifactId: string, path: string): string {
  return `/api/artifact/file/${encodeURIComponent(artifactId)}?path=${encodeURIComponent(path)}`;
}

/** The files whose path has `text`, in any case. */
export function matchingFiles<File extends { readonly path: string }>(
  files: readonly File[],
  text: string,
): File[] {
  const part = text.trim().toLowerCase();
  return files.filter(({ path }) => path.toLowerCase().includes(part));
}
