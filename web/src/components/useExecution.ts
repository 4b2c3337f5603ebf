import { useRef } from "preact/hooks";
import { getIfChanged } from "../api/client";
import type { ExecutionView } from "../api/types";
import { type Live, useLive } from "./useLive";

const HOLD_MS = 10_000;

/** Keeps an execution with its jobs current, by long poll, until it has ended. */
export function useExecution(id: string): Live<ExecutionView> {
  const version = useRef<string | null>(null);
  return useLive(
    id,
    async (signal, previous: ExecutionView | null) => {
      const etag = previous === null ? null : version.current;
      // The first reply is not held.
      const query = etag === null ? {} : { wait_ms: HOLD_MS };
      const path = "/api/pipeline/status/{executionId}" as const;
      const reply = await getIfChanged(path, { path: { executionId: id }, query, signal }, etag);
      version.current = reply.etag;
      return reply.value;
    },
    (view) => view.execution.end_time != null,
  );
}
