// The address of a page, below the address of the UI.

export interface Address {
  readonly path: readonly string[];
  readonly query: ReadonlyMap<string, string>;
  /** What follows `#`, such as the selected lines of a log. */
  readonly fragment: string;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Reads an address without the part that leads to the UI: `executions/7?tab=tests#L3`. */
export function parseAddress(text: string): Address {
  const [beforeFragment = "", ...fragment] = text.split("#");
  const [path = "", ...query] = beforeFragment.split("?");
  return {
    path: path
      .split("/")
      .filter((part) => part !== "")
      .map(decode),
    query: new Map(new URLSearchParams(query.join("?"))),
    fragment: decode(fragment.join("#")),
  };
}

export type QueryValue = string | number | null | undefined;

/** The text of an address; empty parameters are left out. */
export function formatAddress(
  path: readonly string[],
  query: Iterable<readonly [string, QueryValue]> = [],
  fragment = "",
): string {
  const search = new URLSearchParams();
  for (const [name, value] of query) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return (
    path.map(encodeURIComponent).join("/") +
    (text === "" ? "" : `?${text}`) +
    (fragment === "" ? "" : `#${fragment}`)
  );
}
