import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { session, signIn } from "../api/session";

/** Asks for a token: there is none, or the server rejected it. */
export function SignInPage(): JSX.Element {
  const [token, setToken] = useState("");
  const [keep, setKeep] = useState(false);
  const rejected = session.value.rejection === "invalid";
  return (
    <main id="main" class="sign-in">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          signIn(token.trim(), keep);
        }}
      >
        <h1>Sign in to Tidemill</h1>
        {rejected && (
          <p role="alert" class="note failed">
            The token is not valid: it was revoked, has expired, or belongs to another server. Enter another
            one.
          </p>
        )}
        <p class="soft">
          Enter a token with the scope <code>read</code>; to start, cancel or approve, one with{" "}
          <code>run</code>.
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
          To create a token, run <code>tidemill token create --scope read</code>
        </p>
      </form>
    </main>
  );
}
