// The badge of a repository: an image that shows everyone whether its default branch passes.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { post } from "../../api/client";
import { mayAdminister } from "../../api/session";
import { ActionButton } from "../../components/ActionButton";
import { badgeAddress, badgeMarkdown } from "../../domain/badges";
import { OfRepository } from "./OfRepository";

function BadgeOf({ repo }: { repo: string }): JSX.Element {
  const [key, setKey] = useState<string | null>(null);
  const [revoked, setRevoked] = useState<boolean | null>(null);
  const [pipeline, setPipeline] = useState("");
  if (!mayAdminister.value)
    return <p class="empty">The address of a badge is shown to administrators of the repository.</p>;
  const image = key === null ? null : badgeAddress(location.origin, key, pipeline);
  return (
    <section class="card padded" aria-label="Badge">
      <p class="soft">
        Who knows its address sees whether the default branch passes, and nothing else. A new badge gets its
        address here; an address that became known to the wrong people is revoked.
      </p>
      <div class="inline-form">
        <label class="field">
          <span>
            Pipeline <span class="dim">(optional)</span>
          </span>
          <input
            spellcheck={false}
            placeholder="all"
            value={pipeline}
            onInput={(event) => setPipeline(event.currentTarget.value)}
          />
        </label>
        <ActionButton
          kind="primary"
          run={async () => {
            setKey((await post("/api/badge", { body: { repo } })).key);
            setRevoked(null);
          }}
        >
          Show the address
        </ActionButton>
        <ActionButton
          confirm="Really revoke?"
          run={async () => {
            setRevoked((await post("/api/badge/revoke", { body: { repo } })).revoked);
            setKey(null);
          }}
        >
          Revoke
        </ActionButton>
      </div>
      {image !== null && (
        <>
          <p>
            <img src={image} alt="The badge as it is now" height="20" />
          </p>
          <p>
            Address: <code class="wrapped">{image}</code>
          </p>
          <p>
            For a README: <code class="wrapped">{badgeMarkdown(image, location.origin, repo)}</code>
          </p>
        </>
      )}
      <p role="status">
        {revoked !== null && (revoked ? "The address shows nothing any more." : "There was no badge.")}
      </p>
    </section>
  );
}

export const BadgeList = (): JSX.Element => (
  <OfRepository list={(repo) => <BadgeOf key={repo} repo={repo} />} />
);
