// Who must approve jobs that name an environment.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post } from "../../api/client";
import { mayAdminister } from "../../api/session";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { approverText, protectRequest } from "../../domain/approvals";
import { ListFrame } from "./ListFrame";
import { usePages } from "./usePages";

const EMPTY = { environment: "", approvals: "1", by: "", excludeStarter: false };

function ProtectionForm({ repo, added }: { repo: string; added: () => void }): JSX.Element {
  const [form, setForm] = useState(EMPTY);
  return (
    <form
      class="inline-form"
      aria-label="Protect an environment"
      onSubmit={(event) => event.preventDefault()}
    >
      <label class="field">
        <span>Environment</span>
        <input
          spellcheck={false}
          placeholder="production, or review/*"
          value={form.environment}
          onInput={(event) => setForm({ ...form, environment: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>Approvals</span>
        <input
          type="number"
          min="1"
          max="10"
          value={form.approvals}
          onInput={(event) => setForm({ ...form, approvals: event.currentTarget.value })}
        />
      </label>
      <label class="field">
        <span>
          By <span class="dim">(optional)</span>
        </span>
        <input
          spellcheck={false}
          placeholder="group:github:acme/ops user:oidc:ann@example.org"
          value={form.by}
          onInput={(event) => setForm({ ...form, by: event.currentTarget.value })}
        />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={form.excludeStarter}
          onChange={(event) => setForm({ ...form, excludeStarter: event.currentTarget.checked })}
        />
        <span>Not by who started it</span>
      </label>
      {form.environment.trim() === "" ? (
        <button type="button" class="primary" disabled>
          Protect
        </button>
      ) : (
        <ActionButton
          kind="primary"
          run={async () => {
            await post("/api/environment/protection", { body: protectRequest(repo, form) });
            setForm(EMPTY);
            added();
          }}
        >
          Protect
        </ActionButton>
      )}
    </form>
  );
}

/** The protected environments of a repository. */
export function ProtectionsOf({ repo }: { repo: string }): JSX.Element {
  const pages = usePages(repo, async () => ({
    rows: (await get("/api/environment/protection", { query: { repo } })).protections,
    next: null,
  }));
  return (
    <section aria-labelledby="protected">
      <h2 id="protected">Protected environments</h2>
      <p class="soft">
        A job that names one of them starts once it has the approvals that the rule requires.
      </p>
      {pages.error === null && mayAdminister.value && <ProtectionForm repo={repo} added={pages.reload} />}
      <ListFrame
        label="Protected environments"
        pages={pages}
        rowKey={(rule) => rule.environment}
        empty="No environment is protected: jobs deploy without an approval, unless they are manual."
        columns={[
          { name: "Environment", cell: (rule) => <strong>{rule.environment}</strong> },
          { name: "Approvals", cell: (rule) => <span class="number">{rule.approvals}</span> },
          { name: "By", cell: (rule) => rule.by.map(approverText).join(", ") },
          { name: "Who started it", cell: (rule) => (rule.exclude_starter ? "does not count" : "counts") },
          { name: "Set", cell: (rule) => <Age time={rule.set_at} /> },
          { name: "Set by", cell: (rule) => rule.set_by },
          {
            name: "Change",
            cell: (rule) =>
              mayAdminister.value && (
                <ActionButton
                  kind="small"
                  confirm="Really remove?"
                  run={async () => {
                    const body = { repo, environment: rule.environment };
                    await post("/api/environment/unprotect", { body });
                    pages.reload();
                  }}
                >
                  Remove
                </ActionButton>
              ),
          },
        ]}
      />
    </section>
  );
}
