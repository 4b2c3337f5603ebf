// Reads a log from the API, in ranges.

import { get, send } from "../api/client";

/** Bytes of a log. */
export interface LogPart {
  readonly bytes: Uint8Array;
  /** Offset after the bytes. */
  readonly next: number;
  /** Whether the log ends there, for good. */
  readonly end: boolean;
  /** Number of bytes that the log has now. */
  readonly size: number;
  /** Milliseconds after which there may be more bytes; 0 if the server holds a reply until there are some. */
  readonly pollMs?: number;
}

export interface LogRange {
  readonly offset: number;
  readonly limit: number;
  /** How long the server may hold the reply until there are bytes. */
  readonly waitMs: number;
}

/** When a position of the log was written, and how many line ends are before it. */
export interface Mark {
  readonly offset: number;
  readonly line: number;
  readonly timeMs: number;
}

/** Where a log comes from. */
export interface LogSource {
  read(range: LogRange, signal: AbortSignal): Promise<LogPart>;
  /** Marks of the log so far, by ascending offset. */
  marks(signal: AbortSignal): Promise<Mark[]>;
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
      return {
        bytes,
        next: offset + bytes.length,
        end: reply.headers.get("x-tidemill-log-end") === "true",
        size: Number(reply.headers.get("x-tidemill-log-size") ?? 0),
        pollMs: Number(reply.headers.get("x-tidemill-log-poll-ms") ?? 0),
      };
    },
    async marks(signal) {
      const query = attempt > 0 ? { attempt } : {};
      const path = "/api/job/log-times/{jobId}" as const;
      const { marks } = await get(path, { path: { jobId }, query, signal });
      return marks.map(({ offset, line, at }) => ({ offset, line, timeMs: Date.parse(at) }));
    },
  };
}
