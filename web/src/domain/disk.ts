// What uses the disk of a server.
import type { DiskUsage } from "../api/types";
import { formatBytes } from "./duration";

/** A part of the disk, in the order in which the bar shows them. */
export interface DiskPart {
  readonly name: string;
  readonly kind: "records" | "logs" | "artifacts" | "caches" | "uploads" | "other" | "free";
  readonly bytes: number;
  /** Of all parts with the free space, in percent. */
  readonly percent: number;
}

/** The parts of the disk, with what is free. What others store on the same disk is not known, and left out. */
export function diskParts(usage: DiskUsage): DiskPart[] {
  const parts: [string, DiskPart["kind"], number][] = [
    ["Records", "records", usage.record_bytes],
    ["Logs", "logs", usage.log_bytes],
    ["Artifacts", "artifacts", usage.artifact_bytes],
    ["Caches", "caches", usage.cache_bytes],
    ["Uploaded sources", "uploads", usage.upload_bytes],
    ["Other files", "other", usage.other_bytes],
    ["Free", "free", usage.free_bytes],
  ];
  const total = parts.reduce((sum, [, , bytes]) => sum + bytes, 0);
  return parts.map(([name, kind, bytes]) => ({
    name,
    kind,
    bytes,
    percent: total === 0 ? 0 : (100 * bytes) / total,
  }));
}

/** The bytes of all parts but the free space, as a text. */
export function usedText(parts: readonly DiskPart[]): string {
  return formatBytes(parts.reduce((sum, part) => sum + (part.kind === "free" ? 0 : part.bytes), 0));
}
