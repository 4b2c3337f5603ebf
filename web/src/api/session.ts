// Who uses this page: the token of this browser, or a person with a session, whose cookie no script can read. A token is
// kept for the tab, or in this browser if the user asks for that.
import { computed, signal } from "@preact/signals";
import type { ApiError } from "./client";
import type { SessionInfo } from "./types";

// `early.ts` reads these, too.
const TOKEN_KEY = "tidemill-token";
/** Is there if this browser had a session when the server was asked last. */
const SESSION_KEY = "tidemill-session";

/** Why nobody is signed in: nobody was, the token is not valid, the session is over, or the user signed out. */
export type Rejection = "missing" | "invalid" | "ended" | "signed-out";

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

/** What the server says about the caller and the ways to sign in; `null` until it has replied. */
export const sessionInfo = signal<SessionInfo | null>(null);

/** Why the server could not be asked for that. */
export const sessionError = signal<ApiError | null>(null);

/** Who looks at the page. `unknown`: there is no token, and whether there is a session only the server knows. */
export type Viewer = "identified" | "anonymous" | "rejected" | "unknown";

export const viewer = computed<Viewer>(() => {
  const { token, rejection } = session.value;
  if (rejection !== null) return "rejected";
  if (token !== null || sessionInfo.value?.caller != null) return "identified";
  return sessionInfo.value === null && sessionError.value === null ? "unknown" : "anonymous";
});

/** Whether there is no token or session, and nothing needed one so far: what is shown is of a public repository. */
export const anonymous = computed(() => viewer.value === "anonymous");

function mayUse(scope: "run" | "admin"): boolean {
  if (anonymous.value) return false;
  const scopes = sessionInfo.value?.caller?.scopes;
  return scopes === undefined || scopes.includes(scope) || scopes.includes("admin");
}

/**
 * Whether the viewer may start and change executions, in some repository at least, as far as is known. What they may do with
 * one execution, its view says.
 */
export const mayRun = computed(() => mayUse("run"));

/** Whether the viewer may administer some repository at least, as far as is known. */
export const mayAdminister = computed(() => mayUse("admin"));

/** Notes what the server says about the caller. */
export function noteSession(info: SessionInfo): void {
  sessionInfo.value = info;
  sessionError.value = null;
  if (info.caller?.session != null) localStorage.setItem(SESSION_KEY, "");
  else if (session.value.token === null) localStorage.removeItem(SESSION_KEY);
}

/** Removes the token from this browser. */
export function forgetToken(): void {
  localStorage.removeItem(TOKEN_KEY);
  sessionStorage.removeItem(TOKEN_KEY);
}

export function signIn(token: string, keep: boolean): void {
  forgetToken();
  (keep ? localStorage : sessionStorage).setItem(TOKEN_KEY, token);
  session.value = { token, rejection: null };
}

/** Forgets who the caller was; the ways to sign in stay. */
function forgetCaller(): void {
  const info = sessionInfo.value;
  localStorage.removeItem(SESSION_KEY);
  sessionInfo.value = info === null ? null : { providers: info.providers };
}

/** Notes that the server does not accept this token, or a request without one. */
export function rejectToken(token: string | null): void {
  if (session.value.token !== token) return;
  const hadSession = sessionInfo.value?.caller != null;
  if (token !== null) forgetToken();
  session.value = { token, rejection: token !== null ? "invalid" : hadSession ? "ended" : "missing" };
  forgetCaller();
}

/** Notes that the viewer has signed out, or wants to sign in as someone else. */
export function noteSignedOut(): void {
  forgetToken();
  session.value = { token: null, rejection: "signed-out" };
  forgetCaller();
}

/** Goes on with the session that the server knows. */
export function continueSession(): void {
  forgetToken();
  session.value = { token: null, rejection: null };
}
