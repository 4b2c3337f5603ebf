// Server-sent events of an execution, or of all. The token is in a header, which `EventSource` cannot send, so the stream is read with `fetch`.
import { ApiError, send } from "./client";

/** An event of a stream. */
export interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/** The maximum number of characters of an unfinished event. */
const MAX_PENDING = 64 * 1024;
/** A stream that is silent for longer has lost its connection: a server sends a comment every 20 s. */
const MAX_SILENCE_MS = 45_000;
const FIRST_EVENT_MS = 5000;

/** Finds events in the text of a stream, in parts of any size. */
export class EventParser {
  private pending = "";

  /** Returns the events that `text` completes. */
  push(text: string): ServerEvent[] {
    const parts = (this.pending + text).split("\n\n");
    this.pending = parts.pop() ?? "";
    if (this.pending.length > MAX_PENDING) throw new ApiError(0, { detail: "The server sent no events." });
    return parts.map(parse).filter((event) => event.name !== "");
  }
}

function parse(text: string): ServerEvent {
  const fields = text.split("\n");
  const field = (name: string): string =>
    fields
      .filter((line) => line.startsWith(name))
      .map((line) => line.slice(name.length).trim())
      .join("\n");
  return { name: field("event:"), data: field("data:") };
}

/** Waits for changes by a stream of events, which is open while someone waits. */
export class ChangeEvents {
  /** Whether the server has no streams, or too many of them: ask repeatedly instead. */
  isUnavailable = false;
  private version: string | null = null;
  private stream: AbortController | null = null;
  private wake: () => void = () => undefined;

  constructor(private readonly path: string) {}

  /** The events of an execution. */
  static of(executionId: string): ChangeEvents {
    return new ChangeEvents(`/api/pipeline/events/${encodeURIComponent(executionId)}`);
  }

  /** The version that the last event had, while the stream is open. */
  get current(): string | null {
    return this.version;
  }

  /** Resolves when there may be another version than `known`, nobody looks at the page, or so much time has passed. */
  async changed(known: string, signal: AbortSignal, milliseconds?: number): Promise<void> {
    let hasExpired = false;
    const isUnwatched = (): boolean => signal.aborted || document.hidden;
    const isOver = (): boolean =>
      hasExpired || isUnwatched() || (this.version !== null && this.version !== known);
    const check = (): void => {
      if (isUnwatched()) this.close();
      if (isOver()) this.wake();
    };
    const expire = (): void => {
      hasExpired = true;
      this.wake();
    };
    const timer = milliseconds === undefined ? undefined : setTimeout(expire, milliseconds);
    signal.addEventListener("abort", check);
    document.addEventListener("visibilitychange", check);
    try {
      check();
      if (this.stream === null && !isOver()) this.open(signal);
      while (!isOver() && this.stream !== null) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", check);
      signal.removeEventListener("abort", check);
    }
  }

  private close(): void {
    this.stream?.abort();
    this.stream = null;
    this.version = null;
  }

  private open(signal: AbortSignal): void {
    const stream = new AbortController();
    this.stream = stream;
    this.version = null;
    const abort = (): void => stream.abort();
    signal.addEventListener("abort", abort);
    void this.read(stream).finally(() => {
      signal.removeEventListener("abort", abort);
      stream.abort();
      if (this.stream === stream) this.stream = null;
      this.wake();
    });
  }

  private async read(stream: AbortController): Promise<void> {
    // The first event is sent at once, unless something between here and the server holds it back.
    let silence = setTimeout(() => {
      this.isUnavailable = true;
      stream.abort();
    }, FIRST_EVENT_MS);
    try {
      const reply = await send(this.path, { signal: stream.signal });
      const reader = reply.body?.getReader();
      const parser = new EventParser();
      const text = new TextDecoder();
      for (;;) {
        const part = await reader?.read();
        if (part?.value === undefined) return;
        clearTimeout(silence);
        silence = setTimeout(() => stream.abort(), MAX_SILENCE_MS);
        for (const { data } of parser.push(text.decode(part.value, { stream: true })))
          this.version = (JSON.parse(data) as { version: string }).version;
        this.wake();
      }
    } catch (error) {
      // Other errors are those of the next request, too, which shows them.
      if (error instanceof ApiError && error.status !== 0 && error.status !== 401) this.isUnavailable = true;
    } finally {
      clearTimeout(silence);
    }
  }
}
