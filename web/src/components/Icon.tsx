import type { JSX } from "preact";

const PATHS = {
  mill: "M1.5 6q2-2.4 4.3 0t4.4 0 4.3 0M1.5 10.5q2-2.4 4.3 0t4.4 0 4.3 0",
  home: "M2.5 7.5L8 2.8l5.5 4.7M4 6.8v6.4h8V6.8",
  list: "M2.5 4h1m2.5 0h7.5M2.5 8h1M6 8h7.5m-11 4h1m2.5 0h7.5",
  play: "M4.5 2.8v10.4L13 8z",
  chart: "M2.5 13.5h11M4.5 11V8M8 11V3.5M11.5 11V6",
  worker: "M3 3h10v4H3zM3 9h10v4H3zM5.500 5h.010M5.500 11h.010",
  sliders: "M2.5 4.5h6m3 0h2m-11 7h2m3 0h6M10 3v3M6 10v3",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zm3.2-1.3l3.3 3.3",
  contrast: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 2v12M8 5l4.8-.6M8 8h6M8 11l4.8.6",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1m8 8l1 1m0-10l-1 1M4 12l-1 1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
  exit: "M6.5 2.5h-4v11h4M6 8h8m-3-3l3 3-3 3",
  branch:
    "M5 5v6m0-6a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zm0 6a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zm6-5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zm0 0c0 3-6 2-6 5",
  commit: "M8 10.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 8h4m5 0h4",
  person: "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8zm-5 5.6c.6-2.6 2.5-4 5-4s4.400 1.400 5 4",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.800V8l2.300 1.500",
  event: "M9 1.800L3.500 9H8l-1 5.200L12.500 7H8z",
  chevron: "M6 3.500L10.500 8 6 12.500",
  cross: "M4 4l8 8m0-8l-8 8",
  download: "M8 2.500v7.500m-3-3l3 3 3-3M3 13.500h10",
  retry: "M13 8a5 5 0 1 1-1.600-3.700M13 2.500V5h-2.500",
  stop: "M4 4h8v8H4z",
  check: "M3 8.500l3.200 3.200L13 4.800",
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative icon; the text beside it says the same. */
export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
