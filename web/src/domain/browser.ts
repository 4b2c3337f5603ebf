// Names of browsers, for lists of sessions.

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\b(Firefox|FxiOS)\//, "Firefox"],
  [/\b(Chrome|HeadlessChrome|CriOS)\//, "Chrome"],
  [/\bSafari\//, "Safari"],
];

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/\b(iPhone|iPad)\b/, "iOS"],
  [/\bAndroid\b/, "Android"],
  [/\bWindows\b/, "Windows"],
  [/\bMac OS X\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/** A short name for what a browser says about itself, which nobody has checked. */
export function browserName(description: string | null | undefined): string {
  if (description == null) return "unknown";
  const find = (names: typeof BROWSERS): string | undefined =>
    names.find(([pattern]) => pattern.test(description))?.[1];
  const [browser, system] = [find(BROWSERS), find(SYSTEMS)];
  if (browser === undefined) return description.slice(0, 40);
  return system === undefined ? browser : `${browser} on ${system}`;
}
