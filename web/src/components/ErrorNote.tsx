import type { JSX } from "preact";
import type { ApiError } from "../api/client";
import { signOut } from "../api/session";

/** An error with what to do about it. */
export function ErrorNote({ error, retry }: { error: ApiError; retry?: () => void }): JSX.Element {
  const forbidden = error.status === 403;
  return (
    <div class="note failed" role="alert">
      <p>
        <strong>{forbidden ? "The token does not allow this" : error.title}.</strong> {error.message}
      </p>
      {forbidden && (
        <p>
          Ask an administrator for a token with that scope, or{" "}
          <button type="button" class="link" onClick={signOut}>
            sign in with another token
          </button>
          .
        </p>
      )}
      {retry !== undefined && !forbidden && (
        <p>
          <button type="button" class="small" onClick={retry}>
            Try again
          </button>
        </p>
      )}
    </div>
  );
}
