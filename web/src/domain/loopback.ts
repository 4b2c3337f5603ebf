// Where the command line waits for the reply to `tidemill login`.

/** The command line's question, from the address that it opened. */
export interface LoginRequest {
  readonly challenge: string;
  readonly port: number;
  readonly state: string;
}

const MAX_PORT = 65_535;

/** Reads the question; `null` unless it is one of `tidemill login`. */
export function readLoginRequest(query: ReadonlyMap<string, string>): LoginRequest | null {
  const [challenge, port, state] = ["challenge", "port", "state"].map((name) => query.get(name) ?? "");
  if (challenge === undefined || !/^[A-Za-z0-9_-]{43}$/.test(challenge)) return null;
  if (state === undefined || !/^[A-Za-z0-9_-]{1,100}$/.test(state)) return null;
  if (port === undefined || !/^[1-9][0-9]{0,4}$/.test(port) || Number(port) > MAX_PORT) return null;
  return { challenge, port: Number(port), state };
}

/** The address on this machine that gets the reply: a code, or that the person refused. */
export function replyAddress(request: LoginRequest, reply: { code: string } | { error: "denied" }): string {
  return `http://127.0.0.1:${request.port}/?${new URLSearchParams({ ...reply, state: request.state })}`;
}
