// Durations and times as text.

/** `8.3s`, `2m05s`, `1h07m`, `3d 4h`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  if (seconds < 10) return `${(Math.floor(seconds * 10) / 10).toFixed(1)}s`;
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${two((seconds % 3600) / 60)}m`;
  return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3600)}h`;
}

const STEPS: readonly (readonly [number, string])[] = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [7, "day"],
  [4.345, "week"],
  [12, "month"],
  [Number.POSITIVE_INFINITY, "year"],
];

/** `now`, `5 minutes ago`, `in 2 days`. `Intl.RelativeTimeFormat` would take longer than all else that draws a page. */
export function formatAge(time: number, now: number): string {
  let value = Math.abs(time - now) / 1000;
  if (value < 10) return "now";
  for (const [size, unit] of STEPS) {
    if (value < size) {
      const count = Math.floor(value);
      const text = `${count} ${unit}${count === 1 ? "" : "s"}`;
      return time > now ? `in ${text}` : `${text} ago`;
    }
    value /= size;
  }
  return "";
}

/** Created when it is first needed, and kept, because that takes long. */
let times: Intl.DateTimeFormat | undefined;

/** A time in the reader's own time zone. */
export function formatTime(time: string): string {
  times ??= new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return times.format(new Date(time));
}

/** `2,000,000` */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `12.5 MiB` */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 ? value : value.toFixed(1)} ${units[at] ?? ""}`;
}
