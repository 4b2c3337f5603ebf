// The token of this browser. It is kept for the tab, or in this browser if the user asks for that.
import { computed, signal } from "@preact/signals";

const TOKEN_KEY = "tidemill-token";

/** Why the server rejected the token. */
export type Rejection = "missing" | "invalid";

interface Session {
  readonly token: string | null;
  readonly rejection: Rejection | null;
}

function stored(): string | null {
  return sessionStorage.getItem(TOKEN_KEY) ?? localStorage.getItem(TOKEN_KEY);
}

function initial(): Session {
  const token = typeof sessionStorage === "undefined" ? null : stored();
  return { token, rejection: null };
}

export const session = signal<Session>(initial());

/** Whether there is a token that the server has not rejected. */
export const signedIn = computed(() => session.value.token !== null && session.value.rejection === null);

/** Whether there is no token, and nothing needed one so far: what is shown is of a public repository. */
export const anonymous = computed(() => session.value.token === null && session.value.rejection === null);

export function signIn(token: string, keep: boolean): void {
  localStorage.removeItem(TOKEN_KEY);
  sessionStorage.removeItem(TOKEN_KEY);
  (keep ? localStorage : sessionStorage).setItem(TOKEN_KEY, token);
  session.value = { token, rejection: null };
}

export function signOut(): void {
  localStorage.removeItem(TOKEN_KEY);
  sessionStorage.removeItem(TOKEN_KEY);
  session.value = { token: null, rejection: "missing" };
}

/** Notes that the server does not accept this token. */
export function rejectToken(token: string | null): void {
  if (session.value.token === token)
    session.value = { token, rejection: token === null ? "missing" : "invalid" };
}
