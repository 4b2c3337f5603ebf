import type { JSX } from "preact";
import { switchUser } from "../api/account";
import { post } from "../api/client";
import { sessionInfo } from "../api/session";
import { ActionButton } from "../components/ActionButton";
import { type LoginRequest, replyAddress } from "../domain/loopback";
import { useTitle } from "./title";

function Question({ request }: { request: LoginRequest }): JSX.Element {
  const allow = async (): Promise<void> => {
    const { code } = await post("/api/session/code", { body: { challenge: request.challenge } });
    location.assign(replyAddress(request, { code }));
  };
  return (
    <>
      <p>
        <code>tidemill login</code> asks to act as <strong>{sessionInfo.value?.caller?.name}</strong> on this
        server. It gets a token with your roles, which an administrator can revoke.
      </p>
      <p class="note warning">
        Allow this only if you ran <code>tidemill login</code> on this machine just now.
      </p>
      <div class="actions">
        <ActionButton kind="primary" run={allow}>
          Allow
        </ActionButton>
        <button type="button" onClick={() => location.assign(replyAddress(request, { error: "denied" }))}>
          Refuse
        </button>
        <button type="button" class="link" onClick={switchUser}>
          Sign in as someone else
        </button>
      </div>
    </>
  );
}

/** Asks whether the command line, which opened this page, may act as the person who is signed in. */
export function CommandLineAccess({ request }: { request: LoginRequest | null }): JSX.Element {
  useTitle("Sign in the command line");
  return (
    <main id="main" class="sign-in">
      <div class="card">
        <h1>Sign in the command line?</h1>
        {request === null ? (
          <p role="alert" class="note failed">
            This address is not one that <code>tidemill login</code> opens. Run <code>tidemill login</code>{" "}
            again.
          </p>
        ) : (
          <Question request={request} />
        )}
      </div>
    </main>
  );
}
