// The log of one attempt of a job, as plain text.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { send } from "../api/client";
import { poll } from "../api/polling";
import type { JobView } from "../api/types";
import { asApiError } from "../components/useLive";

export interface LogViewProps {
  /** The job, as of now; the log is read anew when its id or the attempt changes. */
  readonly job: JobView;
  /** The attempt, from 1; 0: the job has not started. */
  readonly attempt: number;
  /** The selected lines of the address: `L12`, `L12-L20`, or empty. */
  readonly lines: string;
  /** Puts selected lines into the address. */
  readonly onLines: (lines: string) => void;
}

// eslint-disable-next-line no-control-regex -- that is what it matches
const CONTROL_SEQUENCE = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-Za-z]/g;

export function LogView({ job, attempt }: LogViewProps): JSX.Element {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  const box = useRef<HTMLPreElement>(null);

  useEffect(() => {
    const stop = new AbortController();
    const decoder = new TextDecoder();
    let offset = 0;
    setText("");
    void poll(
      stop.signal,
      async (signal) => {
        const reply = await send(
          `/api/job/logs/${job.id}?wait_ms=10000&offset=${offset}&attempt=${attempt}`,
          { signal },
        );
        const more = decoder.decode(await reply.arrayBuffer(), { stream: true });
        const next = Number(reply.headers.get("x-tidemill-log-next"));
        setError(null);
        if (more !== "") setText((old) => old + more.replace(CONTROL_SEQUENCE, ""));
        const changed = next !== offset;
        offset = next;
        if (reply.headers.get("x-tidemill-log-end") === "true") return "done";
        return changed ? "changed" : "unchanged";
      },
      (cause) => setError(asApiError(cause).message),
    );
    return () => stop.abort();
  }, [job.id, attempt]);

  return (
    <section class="log" aria-label={`Log of ${job.job_name}`}>
      {error !== null && (
        <p role="alert" class="note failed">
          {error}
        </p>
      )}
      <pre ref={box} tabIndex={0}>
        {text}
      </pre>
    </section>
  );
}
