// The logins of a repository at registries of images.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post } from "../../api/client";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { ListFrame } from "./ListFrame";
import { OfRepository } from "./OfRepository";
import { usePages } from "./usePages";

const EMPTY = { registry: "", username: "", password: "" };

function SetLogin({ repo, changed }: { repo: string; changed: () => void }): JSX.Element {
  const [form, setForm] = useState(EMPTY);
  return (
    <form class="inline-form" aria-label="Set a login" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        <span>Registry</span>
        <input
          spellcheck={false}
          placeholder="registry.example.org:5000/team"
          value={form.registry}
          onInput={(event) => setForm({ ...form, registry: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>User</span>
        <input
          spellcheck={false}
          autocomplete="off"
          value={form.username}
          onInput={(event) => setForm({ ...form, username: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Password or token</span>
        <input
          type="password"
          autocomplete="new-password"
          value={form.password}
          onInput={(event) => setForm({ ...form, password: event.currentTarget.value })}
        />
      </label>
      {form.registry.trim() === "" || form.username.trim() === "" || form.password === "" ? (
        <button type="button" class="primary" disabled>
          Set
        </button>
      ) : (
        <ActionButton
          kind="primary"
          run={async () => {
            const [registry, username] = [form.registry.trim(), form.username.trim()];
            await post("/api/registry", { body: { repo, registry, username, password: form.password } });
            setForm(EMPTY);
            changed();
          }}
        >
          Set
        </ActionButton>
      )}
    </form>
  );
}

function RegistriesOf({ repo }: { repo: string }): JSX.Element {
  const pages = usePages(repo, async () => ({
    rows: (await get("/api/registry", { query: { repo } })).registries,
    next: null,
  }));
  return (
    <>
      {pages.error === null && <SetLogin repo={repo} changed={pages.reload} />}
      <ListFrame
        label="Registries"
        pages={pages}
        rowKey={(one) => one.registry}
        empty={
          <>
            There are none. Set one here, or with <code>tidemill registry add</code>.
          </>
        }
        columns={[
          { name: "Registry", cell: (one) => <strong>{one.registry}</strong> },
          { name: "User", cell: (one) => one.username },
          { name: "Changed", cell: (one) => <Age time={one.updated_at} /> },
          { name: "By", cell: (one) => one.updated_by },
          {
            name: "Change",
            cell: (one) => (
              <ActionButton
                kind="small"
                confirm="Really remove?"
                run={async () => {
                  await post("/api/registry/remove", { body: { repo, registry: one.registry } });
                  pages.reload();
                }}
              >
                Remove
              </ActionButton>
            ),
          },
        ]}
      />
    </>
  );
}

export const RegistryList = (): JSX.Element => <OfRepository list={(repo) => <RegistriesOf repo={repo} />} />;
