import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { post } from "../api/client";
import { sessionInfo } from "../api/session";
import { switchUser } from "../api/account";
import { ActionButton } from "../components/ActionButton";
import { loopbackAddress } from "../domain/loopback";
import { useTitle } from "./title";

/**
 * Asks whether the command line, which opened this page, may act as the person who is signed in. `port` is where it
 * waits for the code on this machine; without one, the code is shown.
 */
export function CommandLineAccess({
  challenge,
  port,
}: {
  challenge: string;
  port: string | undefined;
}): JSX.Element {
  useTitle("Sign in the command line");
  const [code, setCode] = useState<string | null>(null);
  const name = sessionInfo.value?.caller?.name ?? "";
  const allow = async (): Promise<void> => {
    const reply = await post("/api/session/code", { body: { challenge } });
    const target = loopbackAddress(port, reply.code);
    if (target === null) setCode(reply.code);
    else location.assign(target);
  };
  return (
    <main id="main" class="sign-in">
      <div class="card">
        <h1>Sign in the command line?</h1>
        {code === null ? (
          <>
            <p>
              <code>tidemill login</code> asks to act as <strong>{name}</strong> on this server. It gets a
              token with your roles, which you find in the list of tokens and can revoke.
            </p>
            <p class="note warning">
              Allow this only if you ran <code>tidemill login</code> just now.
            </p>
            <div class="actions">
              <ActionButton kind="primary" run={allow}>
                Allow
              </ActionButton>
              <button type="button" onClick={switchUser}>
                Sign in as someone else
              </button>
            </div>
          </>
        ) : (
          <>
            <p>Enter this code in the terminal. It is valid for two minutes.</p>
            <p>
              <code class="code">{code}</code>
            </p>
          </>
        )}
      </div>
    </main>
  );
}
