import type { JSX } from "preact";
import { switchUser } from "../api/account";
import type { ApiError } from "../api/client";
import { sessionInfo } from "../api/session";
import { to } from "../router/router";

/** What to do about a right that the viewer lacks; the error says which one it is. */
function WayOut(): JSX.Element {
  if (sessionInfo.value?.caller?.person != null) {
    return (
      <p>
        Show an administrator <a href={to.settings("account")}>your account</a>, or{" "}
        <button type="button" class="link" onClick={switchUser}>
          sign in as someone else
        </button>
        .
      </p>
    );
  }
  return (
    <p>
      Ask an administrator for a token with that scope, or{" "}
      <button type="button" class="link" onClick={switchUser}>
        sign in with another token
      </button>
      .
    </p>
  );
}

/** A message of the server as a sentence. */
function sentence(message: string): string {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** Repeating such a request gives the same reply. */
const isFinal = (error: ApiError): boolean => [400, 403, 404].includes(error.status);

/** An error with what to do about it. */
export function ErrorNote({ error, retry }: { error: ApiError; retry?: () => void }): JSX.Element {
  const forbidden = error.status === 403;
  const what = sessionInfo.value?.caller?.person == null ? "The token" : "Your role";
  const title = forbidden ? `${what} does not allow this` : error.title;
  return (
    <div class="note failed" role="alert">
      <p>
        <strong>{title}.</strong> {sentence(error.message)}
      </p>
      {forbidden && <WayOut />}
      {retry !== undefined && !isFinal(error) && (
        <p>
          <button type="button" class="small" onClick={retry}>
            Try again
          </button>
        </p>
      )}
    </div>
  );
}
