// The tokens of the deployment.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post, remove } from "../../api/client";
import { ActionButton } from "../../components/ActionButton";
import { ShownOnce } from "../../components/ShownOnce";
import { Age } from "../../components/Time";
import { shortRepo } from "../../domain/names";
import { SCOPES, TERMS, type TokenForm, tokenRequest } from "../../domain/tokens";
import { ListFrame } from "./ListFrame";
import { usePages } from "./usePages";

const EMPTY: TokenForm = { name: "", scope: "read", repo: "", days: 90 };

function CreateToken({ created }: { created: (token: string) => void }): JSX.Element {
  const [form, setForm] = useState(EMPTY);
  return (
    <form class="inline-form" aria-label="Create a token" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        <span>Name</span>
        <input
          spellcheck={false}
          placeholder="what it is for"
          value={form.name}
          onInput={(event) => setForm({ ...form, name: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Scope</span>
        <select
          value={form.scope}
          onChange={(event) => {
            const chosen = SCOPES.find(({ name }) => name === event.currentTarget.value);
            if (chosen !== undefined) setForm({ ...form, scope: chosen.name });
          }}
        >
          {SCOPES.map(({ name, about }) => (
            <option key={name} value={name}>
              {name}: {about}
            </option>
          ))}
        </select>
      </label>
      {form.scope !== "worker" && (
        <label class="field">
          <span>
            Repository <span class="dim">(optional)</span>
          </span>
          <input
            spellcheck={false}
            placeholder="all"
            value={form.repo}
            onInput={(event) => setForm({ ...form, repo: event.currentTarget.value })}
          />
        </label>
      )}
      <label class="field">
        <span>Valid for</span>
        <select
          value={form.days}
          onChange={(event) => setForm({ ...form, days: Number(event.currentTarget.value) })}
        >
          {TERMS.map(({ days, text }) => (
            <option key={days} value={days}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {form.name.trim() === "" ? (
        <button type="button" class="primary" disabled>
          Create token
        </button>
      ) : (
        <ActionButton
          kind="primary"
          run={async () => {
            const reply = await post("/api/token", { body: tokenRequest(form) });
            setForm(EMPTY);
            created(reply.token);
          }}
        >
          Create token
        </ActionButton>
      )}
    </form>
  );
}

export function TokenList(): JSX.Element {
  const [created, setCreated] = useState<string | null>(null);
  const pages = usePages("tokens", async () => ({ rows: (await get("/api/token")).tokens, next: null }));
  return (
    <>
      {pages.error === null && (
        <CreateToken
          created={(token) => {
            setCreated(token);
            pages.reload();
          }}
        />
      )}
      {created !== null && (
        <ShownOnce value={created} done={() => setCreated(null)}>
          <p>Copy the token now: it is not shown again.</p>
        </ShownOnce>
      )}
      <ListFrame
        label="Tokens"
        pages={pages}
        rowKey={(token) => token.id}
        empty="There are no tokens besides the deployment’s own."
        columns={[
          { name: "Name", cell: (token) => <strong>{token.name}</strong> },
          { name: "Scopes", cell: (token) => token.scopes.join(", ") },
          { name: "Repository", cell: (token) => (token.repo == null ? "all" : shortRepo(token.repo)) },
          { name: "Created", cell: (token) => <Age time={token.created_at} /> },
          {
            name: "Last used",
            cell: (token) => (token.last_used_at == null ? "never" : <Age time={token.last_used_at} />),
          },
          {
            name: "Expires",
            cell: (token) => (token.expires_at == null ? "never" : <Age time={token.expires_at} />),
          },
          {
            name: "Change",
            cell: (token) => (
              <ActionButton
                kind="small"
                confirm="Really revoke?"
                run={async () => {
                  await remove("/api/token/{tokenId}", { path: { tokenId: token.id } });
                  pages.reload();
                }}
              >
                Revoke
              </ActionButton>
            ),
          },
        ]}
      />
    </>
  );
}
