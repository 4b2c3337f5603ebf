import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { loadSession, signInAddress, signOut } from "../api/account";
import {
  continueSession,
  forgetToken,
  type Rejection,
  session,
  sessionError,
  sessionInfo,
  signIn,
} from "../api/session";
import { ActionButton } from "../components/ActionButton";
import { ErrorNote } from "../components/ErrorNote";
import { address, currentPath, navigate, to } from "../router/router";
import { useTitle } from "./title";

/** What a rejection means for the user. */
const REJECTIONS: Partial<Record<Rejection, string>> = {
  invalid:
    "The token is not valid: it was revoked, has expired, or belongs to another server. Enter another one.",
  ended: "Your session is over. Sign in again.",
};

/** Why a sign-in with a provider failed, by the code in the address. */
const FAILURES: Readonly<Record<string, string>> = {
  denied: "The sign-in was refused, by you or by the provider. Try again, or ask whoever runs the provider.",
  expired: "The sign-in took too long, or the browser sent no cookie. Try again, with cookies allowed.",
  mismatch:
    "The provider’s reply does not belong to the sign-in that this browser began. Try again in one tab.",
  provider:
    "The provider cannot be reached, or replied with an error. The server’s log has the reason for its administrator.",
  rejected:
    "The provider’s statement about you is not valid. The server’s log has the reason for its administrator.",
};

/** The page for signing in leads here afterwards; it is not itself worth a return unless the command line waits. */
function returnPath(): string {
  const { path, query } = address.value;
  return path[0] === "login" && !query.has("challenge") ? "/" : currentPath();
}

function Failure(): JSX.Element | null {
  const code = address.value.path[0] === "login" ? address.value.query.get("error") : undefined;
  const rejection = session.value.rejection;
  const text =
    code !== undefined
      ? (FAILURES[code] ?? "The sign-in failed. Try again.")
      : rejection === null
        ? undefined
        : REJECTIONS[rejection];
  if (text === undefined) return null;
  return (
    <p role="alert" class="note failed">
      {text}
    </p>
  );
}

function Providers(): JSX.Element | null {
  const providers = sessionInfo.value?.providers ?? [];
  if (providers.length === 0) return null;
  return (
    <ul class="providers" aria-label="Ways to sign in">
      {providers.map((provider) => (
        <li key={provider.id}>
          <a class="button primary" href={signInAddress(provider, returnPath())} onClick={forgetToken}>
            Sign in with {provider.name}
          </a>
        </li>
      ))}
    </ul>
  );
}

/** Goes where the user wanted to go. */
function goOn(): void {
  if (address.value.path[0] === "login") navigate(to.home(), true);
}

function TokenForm(): JSX.Element {
  const [token, setToken] = useState("");
  const [keep, setKeep] = useState(false);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        signIn(token.trim(), keep);
        void loadSession();
        goOn();
      }}
    >
      <p class="soft">
        Enter a token with the scope <code>read</code>; to start, cancel or approve, one with <code>run</code>
        .
      </p>
      <label class="field">
        <span>Token</span>
        <input
          type="password"
          name="token"
          required
          autocomplete="current-password"
          spellcheck={false}
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <label class="check">
        <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.currentTarget.checked)} />
        <span>Keep the token in this browser</span>
      </label>
      <button type="submit" class="primary">
        Sign in
      </button>
      <p class="hint">
        To create a token, run <code class="unbroken">tidemill token create --scope read</code>
      </p>
    </form>
  );
}

/** The session that this browser still has, although the user wants to sign in as someone else. */
function OpenSession(): JSX.Element | null {
  const caller = sessionInfo.value?.caller;
  if (caller?.session == null) return null;
  return (
    <div class="open-session">
      <p>
        You are signed in as <strong>{caller.name}</strong>.
      </p>
      <div class="actions">
        <button
          type="button"
          class="primary"
          onClick={() => {
            continueSession();
            goOn();
          }}
        >
          Continue
        </button>
        <ActionButton run={signOut}>Sign out</ActionButton>
      </div>
    </div>
  );
}

/** Asks who the user is: a person with an account at a provider, or the holder of a token. */
export function SignInPage(): JSX.Element {
  useTitle("Sign in");
  const [info, error] = [sessionInfo.value, sessionError.value];
  // The ways to sign in come with the reply: until then there is nothing to choose from.
  if (info === null && error === null) return <main id="main" class="sign-in" aria-busy="true" />;
  return (
    <main id="main" class="sign-in">
      <div class="card">
        <h1>Sign in to Tidemill</h1>
        <Failure />
        {error !== null && <ErrorNote error={error} retry={() => void loadSession()} />}
        <OpenSession />
        <Providers />
        {(info?.providers ?? []).length === 0 ? (
          <TokenForm />
        ) : (
          <details open={session.value.rejection === "invalid"}>
            <summary>Use a token</summary>
            <TokenForm />
          </details>
        )}
      </div>
    </main>
  );
}
