// Where the command line waits for a code.

/** The address of this machine that gets the code; `null` unless `port` is the number of a port. */
export function loopbackAddress(port: string | undefined, code: string): string | null {
  if (port === undefined || !/^[0-9]{1,5}$/.test(port)) return null;
  const number = Number(port);
  if (number < 1 || number > 65_535) return null;
  return `http://127.0.0.1:${number}/?${new URLSearchParams({ code })}`;
}
