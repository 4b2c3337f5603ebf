import { signal } from "@preact/signals";
import { type Address, formatAddress, parseAddress, type QueryValue } from "./address";

/** The address of the UI: that of its document, whose `<base>` the server sets. */
const root = new URL(".", document.baseURI);

function current(): Address {
  return parseAddress(location.href.slice(root.href.length));
}

/** The address of the shown page. */
export const address = signal<Address>(current());

/** The path of the shown page below the UI's root, with its query and fragment. */
export function currentPath(): string {
  return `/${location.href.slice(root.href.length)}`;
}

function show(): void {
  address.value = current();
}

/** Goes to a page; with `replace` the page before is not kept in the history. */
export function navigate(href: string, replace = false): void {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  const samePage = current().path.join("/") === address.value.path.join("/");
  show();
  if (replace || samePage) return;
  scrollTo(0, 0);
  // Readers of the screen start with the new page.
  setTimeout(() => document.getElementById("main")?.focus({ preventScroll: true }));
}

/** Changes parameters of the shown page without a step in the history. */
export function setQuery(changes: Record<string, QueryValue>): void {
  const query = new Map<string, QueryValue>(address.value.query);
  for (const [name, value] of Object.entries(changes)) query.set(name, value);
  navigate(link(address.value.path, query, address.value.fragment), true);
}

/** Changes the fragment of the shown page without a step in the history. */
export function setFragment(fragment: string): void {
  navigate(link(address.value.path, address.value.query, fragment), true);
}

function link(
  path: readonly string[],
  query?: Iterable<readonly [string, QueryValue]>,
  fragment?: string,
): string {
  return root.pathname + formatAddress(path, query, fragment);
}

/** Follows links to pages of the UI without loading the document again. */
function follow(event: MouseEvent): void {
  if (
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  ) {
    return;
  }
  const anchor = event.target instanceof Element ? event.target.closest("a") : null;
  if (anchor === null || anchor.target !== "" || anchor.hasAttribute("download")) return;
  if (!anchor.href.startsWith(root.href) || anchor.pathname.startsWith(`${root.pathname}api/`)) return;
  event.preventDefault();
  navigate(anchor.href);
}

export function startRouter(): void {
  addEventListener("popstate", show);
  addEventListener("click", follow);
}

/** Addresses of all pages. */
export const to = {
  home: () => link([]),
  executions: (filter: Record<string, QueryValue> = {}) => link(["executions"], Object.entries(filter)),
  execution: (id: string, view?: string) => link(["executions", id], [["view", view]]),
  job: (executionId: string, jobName: string, attempt?: number) =>
    link(["executions", executionId, "jobs", jobName], [["attempt", attempt]]),
  start: (query: Record<string, QueryValue> = {}) => link(["start"], Object.entries(query)),
  insights: (query: Record<string, QueryValue> = {}) => link(["insights"], Object.entries(query)),
  workers: () => link(["workers"]),
  settings: (list: string, query: Record<string, QueryValue> = {}) =>
    link(["settings", list], Object.entries(query)),
};
