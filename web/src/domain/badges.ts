// Addresses of badges.

/** The address of the image for a key, of one pipeline or, if it is empty, of all. */
export function badgeAddress(origin: string, key: string, pipeline: string): string {
  const name = pipeline.trim();
  const query = name === "" ? "" : `?pipeline=${encodeURIComponent(name)}`;
  return `${origin}/api/badge/${key}.svg${query}`;
}

/** The image in Markdown, as a link to the executions of the repository. */
export function badgeMarkdown(image: string, origin: string, repo: string): string {
  // Parentheses end an address in Markdown.
  const quoted = (address: string): string => address.replace(/\(/g, "%28").replace(/\)/g, "%29");
  return `[![build](${quoted(image)})](${quoted(`${origin}/executions?repo=${encodeURIComponent(repo)}`)})`;
}
