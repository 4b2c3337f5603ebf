import { useEffect, useMemo, useRef } from "preact/hooks";
import { getIfChanged } from "../api/client";
import { ChangeEvents } from "../api/events";
import type { ExecutionView } from "../api/types";
import { type Live, useLive } from "./useLive";

const HOLD_MS = 10_000;
/** What the viewer may do depends on roles and rules, too, whose changes give the execution no new version. */
const FULL_READ_MS = 60_000;

/**
 * Keeps an execution with its jobs current until it has ended: by events, or by polls where the server sends none. It is read whole
 * each minute, and when the viewer comes back to the tab.
 */
export function useExecution(id: string): Live<ExecutionView> {
  const version = useRef<string | null>(null);
  const readAt = useRef(0);
  const events = useMemo(() => ChangeEvents.of(id), [id]);
  useEffect(() => {
    const expire = (): void => {
      if (document.hidden) readAt.current = 0;
    };
    document.addEventListener("visibilitychange", expire);
    return () => document.removeEventListener("visibilitychange", expire);
  }, []);
  return useLive(
    id,
    async (signal, previous: ExecutionView | null) => {
      const remaining = (): number => readAt.current + FULL_READ_MS - Date.now();
      const known = previous === null ? null : version.current;
      if (known !== null && !events.isUnavailable && remaining() > 0)
        await events.changed(known.replace(/^W\/|"/g, ""), signal, remaining());
      const etag = document.hidden || remaining() > 0 ? known : null;
      // The first reply is not held, and none after an event.
      const query = etag === null || !events.isUnavailable ? {} : { wait_ms: HOLD_MS };
      const path = "/api/pipeline/status/{executionId}" as const;
      const reply = await getIfChanged(path, { path: { executionId: id }, query, signal }, etag);
      if (etag === null) readAt.current = Date.now();
      version.current = reply.etag;
      return reply.value;
    },
    (view) => view.execution.end_time != null,
  );
}
