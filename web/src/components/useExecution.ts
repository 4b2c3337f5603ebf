import { useMemo, useRef } from "preact/hooks";
import { getIfChanged } from "../api/client";
import { ChangeEvents } from "../api/events";
import type { ExecutionView } from "../api/types";
import { type Live, useLive } from "./useLive";

const HOLD_MS = 10_000;

/** Keeps an execution with its jobs current until it has ended: by events, or by polls where the server sends none. */
export function useExecution(id: string): Live<ExecutionView> {
  const version = useRef<string | null>(null);
  const events = useMemo(() => ChangeEvents.of(id), [id]);
  return useLive(
    id,
    async (signal, previous: ExecutionView | null) => {
      const etag = previous === null ? null : version.current;
      if (etag !== null && !events.isUnavailable) await events.changed(etag.replace(/^W\/|"/g, ""), signal);
      // The first reply is not held, and none after an event.
      const query = etag === null || !events.isUnavailable ? {} : { wait_ms: HOLD_MS };
      const path = "/api/pipeline/status/{executionId}" as const;
      const reply = await getIfChanged(path, { path: { executionId: id }, query, signal }, etag);
      version.current = reply.etag;
      return reply.value;
    },
    (view) => view.execution.end_time != null,
  );
}
