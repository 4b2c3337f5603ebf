// What a reader chooses for all logs; kept in this browser.

export type TimeMode = "off" | "clock" | "since";

export interface LogOptions {
  readonly wraps: boolean;
  readonly hasNumbers: boolean;
  readonly times: TimeMode;
}

export const DEFAULTS: LogOptions = { wraps: false, hasNumbers: true, times: "off" };

const KEY = "tidemill-log";

/** Reads options; what is not valid has its default. */
export function parseOptions(text: string | null): LogOptions {
  let stored: Partial<Record<keyof LogOptions, unknown>> = {};
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value === "object" && value !== null) stored = value;
  } catch {
    // Not JSON.
  }
  const { wraps, hasNumbers, times } = stored;
  return {
    wraps: typeof wraps === "boolean" ? wraps : DEFAULTS.wraps,
    hasNumbers: typeof hasNumbers === "boolean" ? hasNumbers : DEFAULTS.hasNumbers,
    times: times === "clock" || times === "since" ? times : DEFAULTS.times,
  };
}

export function loadOptions(): LogOptions {
  return parseOptions(localStorage.getItem(KEY));
}

export function storeOptions(options: LogOptions): void {
  localStorage.setItem(KEY, JSON.stringify(options));
}

/** The mode after this one, for a key that goes through them. */
export function nextTimes(mode: TimeMode): TimeMode {
  return ({ off: "clock", clock: "since", since: "off" } as const)[mode];
}
