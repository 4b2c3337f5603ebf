// Asks the server who is signed in, and signs in and out.
import { ApiError, apiUrl, get, remove } from "./client";
import { noteSession, noteSignedOut, session, sessionError, sessionInfo } from "./session";
import type { ProviderView } from "./types";

let asked: AbortController | null = null;

/** Asks the server who the caller is, and how one can sign in. */
export async function loadSession(): Promise<void> {
  asked?.abort();
  const stop = new AbortController();
  asked = stop;
  try {
    const info = await get("/api/session", { signal: stop.signal });
    if (stop.signal.aborted) return;
    noteSession(info);
  } catch (error) {
    if (!stop.signal.aborted && error instanceof ApiError) sessionError.value = error;
  }
}

/** The address at which a sign-in with a provider begins. It ends at `returnTo`, a path below the UI's root. */
export function signInAddress(provider: ProviderView, returnTo: string): string {
  const query = new URLSearchParams({ provider: provider.id, return_to: returnTo });
  return apiUrl(`/api/session/login?${query}`);
}

/** Signs out: this browser forgets the token, or the server ends the session. Fails if the server does not confirm that. */
export async function signOut(): Promise<void> {
  const hasSession = session.value.token === null && sessionInfo.value?.caller != null;
  if (hasSession) await remove("/api/session").catch(unlessEnded);
  noteSignedOut();
  await loadSession();
}

/** Asks for another sign-in; a session stays until the user ends it. */
export function switchUser(): void {
  noteSignedOut();
  void loadSession();
}

function unlessEnded(error: unknown): void {
  if (!(error instanceof ApiError && error.status === 401)) throw error;
}
