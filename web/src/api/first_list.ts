// The first request of the list of executions. The build puts its address into `early.ts`, which imports nothing.
import { queryText } from "./address";

/** Number of executions of a page of the list. */
export const PAGE = 100;

/** What the list shows unless it is asked for everything. */
export const PIPELINES_ONLY = {
  kind: "run_pipeline",
  // They started nothing, so that no other execution shows their push.
  failed_discoveries: true,
} as const;

/** The address of the first page of the list without filters. */
export const FIRST_LIST = `/api/pipeline/executions${queryText({ ...PIPELINES_ONLY, limit: PAGE })}`;
