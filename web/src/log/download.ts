// Stores a log as a file, or opens it as plain text. It is read in parts, as a request with a token cannot be a link.

import { formatBytes } from "../domain/duration";
import type { LogSource } from "./source";

const PART = 4 * 1024 * 1024;
/** What a tab opens as text; more is to be downloaded. */
const MAX_OPENED = 64 * 1024 * 1024;
/** How long a file that was given to the browser can be read. */
const REVOKE_AFTER_MS = 60_000;

/** Reads the whole log, and opens it or stores it as `name`. `onProgress` gets what to show of that. */
export async function saveLog(
  source: LogSource,
  name: string,
  opens: boolean,
  onProgress: (text: string) => void,
): Promise<void> {
  const { signal } = new AbortController();
  const parts: Blob[] = [];
  let offset = 0;
  for (;;) {
    const { bytes, next, end } = await source.read({ offset, limit: PART, waitMs: 0 }, signal);
    parts.push(new Blob([new Uint8Array(bytes)]));
    offset = next;
    if (end || bytes.length === 0 || (opens && offset >= MAX_OPENED)) break;
    onProgress(`${formatBytes(offset)} read`);
  }
  const type = opens ? "text/plain;charset=utf-8" : "application/octet-stream";
  const address = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement("a");
  link.href = address;
  link.rel = "noopener";
  if (opens) link.target = "_blank";
  else link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), REVOKE_AFTER_MS);
  onProgress(
    opens && offset >= MAX_OPENED
      ? `The first ${formatBytes(offset)} are shown; download the log to have it whole.`
      : "",
  );
}
