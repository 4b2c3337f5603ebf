// The address of a page. It is in the fragment, so that every server that has the one file serves all pages, below any
// prefix.

export interface Address {
  readonly path: readonly string[];
  readonly query: ReadonlyMap<string, string>;
}

export function parseAddress(hash: string): Address {
  const text = hash.replace(/^#?\/?/, "");
  const at = text.indexOf("?");
  const [path, query] = at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
  return {
    path: path
      .split("/")
      .filter((part) => part !== "")
      .map(decode),
    query: new Map(new URLSearchParams(query)),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The text of an address; empty values are left out. */
export function formatAddress(
  path: readonly string[],
  query: Iterable<readonly [string, string | number | null | undefined]> = [],
): string {
  const search = new URLSearchParams();
  for (const [name, value] of query) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text === "" ? "" : `?${text}`}`;
}
