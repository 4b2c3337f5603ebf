// Reads a log from the API, in ranges.

import { send } from "../api/client";

/** Bytes of a log. */
export interface LogPart {
  readonly bytes: Uint8Array;
  /** Offset after the bytes. */
  readonly next: number;
  /** Whether the log ends there, for good. */
  readonly end: boolean;
}

export interface LogRange {
  readonly offset: number;
  readonly limit: number;
  /** How long the server may hold the reply until there are bytes. */
  readonly waitMs: number;
}

/** Where a log comes from. */
export interface LogSource {
  read(range: LogRange, signal: AbortSignal): Promise<LogPart>;
  /** The address of the log's bytes, for a download with the session's token. */
  readonly address: string;
}

/** The log of one attempt; 0: of the attempt that the job was carried over with. */
export function apiSource(jobId: string, attempt: number): LogSource {
  const address = `/api/job/logs/${encodeURIComponent(jobId)}?${attempt > 0 ? `attempt=${attempt}&` : ""}`;
  return {
    address,
    async read({ offset, limit, waitMs }, signal) {
      const reply = await send(`${address}offset=${offset}&limit=${limit}&wait_ms=${waitMs}`, { signal });
      const bytes = new Uint8Array(await reply.arrayBuffer());
      return { bytes, next: offset + bytes.length, end: reply.headers.get("x-tidemill-log-end") === "true" };
    },
  };
}
