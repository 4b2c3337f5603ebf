// The secrets and variables of a repository.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post } from "../../api/client";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { type SecretForm, secretRequest, VALUE_KINDS } from "../../domain/secrets";
import { ListFrame } from "./ListFrame";
import { OfRepository } from "./OfRepository";
import { usePages } from "./usePages";

const EMPTY: SecretForm = { name: "", value: "", kind: "secret", environment: "" };

function SetSecret({ repo, changed }: { repo: string; changed: () => void }): JSX.Element {
  const [form, setForm] = useState(EMPTY);
  return (
    <form
      class="inline-form"
      aria-label="Set a secret or a variable"
      onSubmit={(event) => event.preventDefault()}
    >
      <label class="field">
        <span>Name</span>
        <input
          spellcheck={false}
          autocomplete="off"
          placeholder="DEPLOY_KEY"
          value={form.name}
          onInput={(event) => setForm({ ...form, name: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Value</span>
        <textarea
          rows={1}
          spellcheck={false}
          autocomplete="off"
          class={form.kind === "variable" ? "mono" : "mono concealed"}
          value={form.value}
          onInput={(event) => setForm({ ...form, value: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Kind</span>
        <select
          value={form.kind}
          onChange={(event) => {
            const chosen = VALUE_KINDS.find(({ kind }) => kind === event.currentTarget.value);
            if (chosen !== undefined) setForm({ ...form, kind: chosen.kind });
          }}
        >
          {VALUE_KINDS.map(({ kind, text }) => (
            <option key={kind} value={kind}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>
          Environment <span class="dim">(optional)</span>
        </span>
        <input
          spellcheck={false}
          placeholder="all"
          value={form.environment}
          onInput={(event) => setForm({ ...form, environment: event.currentTarget.value })}
        />
      </label>
      {form.name.trim() === "" || form.value === "" ? (
        <button type="button" class="primary" disabled>
          Set
        </button>
      ) : (
        <ActionButton
          kind="primary"
          run={async () => {
            await post("/api/secret", { body: secretRequest(repo, form) });
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

function SecretsOf({ repo }: { repo: string }): JSX.Element {
  const pages = usePages(repo, async () => ({
    rows: (await get("/api/secret", { query: { repo } })).secrets,
    next: null,
  }));
  return (
    <>
      {pages.error === null && <SetSecret repo={repo} changed={pages.reload} />}
      <ListFrame
        label="Secrets and variables"
        pages={pages}
        rowKey={(one) => `${one.name} ${one.environment ?? ""} ${one.variable == null}`}
        empty={
          <>
            There are none. Set one here, or with <code>tidemill secret set</code> and{" "}
            <code>tidemill variable set</code>.
          </>
        }
        columns={[
          { name: "Name", cell: (one) => <strong class="mono">{one.name}</strong> },
          { name: "Kind", cell: (one) => (one.variable == null ? "secret" : "variable") },
          { name: "Environment", cell: (one) => one.environment ?? "all" },
          { name: "Value", cell: (one) => <span class="mono">{one.value ?? "hidden"}</span> },
          { name: "Changed", cell: (one) => <Age time={one.updated_at} /> },
          { name: "By", cell: (one) => one.updated_by },
          {
            name: "Change",
            cell: (one) => (
              <ActionButton
                kind="small"
                confirm="Really remove?"
                run={async () => {
                  const place = one.environment == null ? {} : { environment: one.environment };
                  const body = { repo, name: one.name, is_variable: one.variable != null, ...place };
                  await post("/api/secret/remove", { body });
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

export const SecretList = (): JSX.Element => <OfRepository list={(repo) => <SecretsOf repo={repo} />} />;
