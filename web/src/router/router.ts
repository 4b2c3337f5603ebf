import { signal } from "@preact/signals";
import { type Address, formatAddress, parseAddress } from "./address";

/** The address of the shown page. */
export const address = signal<Address>(parseAddress(location.hash));

addEventListener("hashchange", () => {
  address.value = parseAddress(location.hash);
});

/** Goes to a page; with `replace` the page before is not kept in the history. */
export function navigate(to: string, replace = false): void {
  if (replace) {
    history.replaceState(null, "", to);
    address.value = parseAddress(to);
  } else {
    location.hash = to;
  }
}

/** Changes parameters of the shown page without a step in the history. */
export function setQuery(changes: Record<string, string | number | null>): void {
  const query = new Map<string, string | number | null>(address.value.query);
  for (const [name, value] of Object.entries(changes)) query.set(name, value);
  navigate(formatAddress(address.value.path, query), true);
}

/** Addresses of all pages. */
export const to = {
  home: () => "#/",
  executions: (filter: Record<string, string | null | undefined> = {}) =>
    formatAddress(["executions"], Object.entries(filter)),
  execution: (id: string, view?: string) => formatAddress(["execution", id], [["view", view]]),
  job: (executionId: string, jobId: string, attempt?: number) =>
    formatAddress(["execution", executionId, "job", jobId], [["attempt", attempt]]),
  start: () => "#/start",
  settings: (list: string, repo?: string) => formatAddress(["settings", list], [["repo", repo]]),
};
