// Server-sent events of an execution. The token is in a header, which `EventSource` cannot send, so the stream is read with `fetch`.
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

/** Waits for changes of an execution by a stream of events, which is open while someone waits. */
export class ExecutionEvents {
  /** Whether the server has no streams, or too many of them: ask repeatedly instead. */
  isUnavailable = false;
  private version: string | null = null;
  private stream: AbortController | null = null;
  private wake: () => void = () => undefined;

  constructor(private readonly id: string) {}

  /** Resolves when the execution may have another version than `known`, or nobody looks at the page. */
  async changed(known: string, signal: AbortSignal): Promise<void> {
    const isUnwatched = (): boolean => signal.aborted || document.hidden;
    const isOver = (): boolean => isUnwatched() || (this.version !== null && this.version !== known);
    const check = (): void => {
      if (isUnwatched()) this.close();
      if (isOver()) this.wake();
    };
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
      const path = `/api/pipeline/events/${encodeURIComponent(this.id)}`;
      const reply = await send(path, { signal: stream.signal });
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
