// Registers a repository, or changes its registration.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { apiUrl, put } from "../../api/client";
import { ActionButton } from "../../components/ActionButton";
import { ShownOnce } from "../../components/ShownOnce";
import {
  EMPTY_REPOSITORY,
  PROVIDERS,
  providerOf,
  type RepositoryForm,
  repositoryRequest,
} from "../../domain/repositories";

interface Webhook {
  readonly address: string;
  readonly secret: string | null;
}

/** What is to be entered at the provider, so that pushes and pull requests start pipelines. */
function NewWebhook({ webhook, done }: { webhook: Webhook; done: () => void }): JSX.Element {
  if (webhook.secret === null)
    return (
      <p role="status" class="note">
        Saved. Its webhooks go to <code class="wrapped">{webhook.address}</code>, with the same secret as
        before.
      </p>
    );
  return (
    <ShownOnce value={webhook.secret} done={done}>
      <p>
        Add a webhook for pushes, tags, pull requests and comments at the provider, as JSON, to{" "}
        <code class="wrapped">{webhook.address}</code>, with this secret. Copy the secret now: it is not shown
        again.
      </p>
    </ShownOnce>
  );
}

export function RegisterRepository({ saved }: { saved: () => void }): JSX.Element {
  const [form, setForm] = useState(EMPTY_REPOSITORY);
  const [webhook, setWebhook] = useState<Webhook | null>(null);
  const set = (change: Partial<RepositoryForm>): void => setForm({ ...form, ...change });
  const text = (field: "defaultBranch" | "user" | "url", label: string, placeholder: string): JSX.Element => (
    <label class="field">
      <span>{label}</span>
      <input
        spellcheck={false}
        autocomplete="off"
        placeholder={placeholder}
        value={form[field]}
        onInput={(event) => set({ [field]: event.currentTarget.value })}
      />
    </label>
  );
  const secret = (field: "statusToken" | "token", label: string): JSX.Element => (
    <label class="field">
      <span>{label}</span>
      <input
        type="password"
        autocomplete="new-password"
        placeholder="none, or as it is"
        value={form[field]}
        onInput={(event) => set({ [field]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <details class="card padded">
      <summary>Register a repository, or change one</summary>
      <form
        class="inline-form"
        aria-label="Register a repository"
        onSubmit={(event) => event.preventDefault()}
      >
        {text("url", "Address", "https://git.example.org/team/app.git")}
        <label class="field">
          <span>Provider</span>
          <select
            value={form.provider ?? providerOf(form.url)}
            onChange={(event) => {
              const chosen = PROVIDERS.find(({ provider }) => provider === event.currentTarget.value);
              if (chosen !== undefined) set({ provider: chosen.provider });
            }}
          >
            {PROVIDERS.map(({ provider, text }) => (
              <option key={provider} value={provider}>
                {text}
              </option>
            ))}
          </select>
        </label>
        {text("defaultBranch", "Default branch", "as webhooks say")}
        {secret("statusToken", "Token for commit statuses")}
        {text("user", "User for clones", "none, or as it is")}
        {secret("token", "Token for clones")}
        <label class="field">
          <span>Readers of executions and logs</span>
          <select
            value={form.readers}
            onChange={(event) => {
              const { value } = event.currentTarget;
              set({ readers: value === "anyone" || value === "token" ? value : "" });
            }}
          >
            <option value="">as it is</option>
            <option value="token">who has a token or a role</option>
            <option value="anyone">anyone</option>
          </select>
        </label>
        {form.url.trim() === "" || (form.token === "") !== (form.user.trim() === "") ? (
          <button type="button" class="primary" disabled>
            Save
          </button>
        ) : (
          <ActionButton
            kind="primary"
            run={async () => {
              const reply = await put("/api/repository", { body: repositoryRequest(form) });
              setWebhook({ address: apiUrl(reply.webhook_path), secret: reply.webhook_secret ?? null });
              setForm(EMPTY_REPOSITORY);
              saved();
            }}
          >
            Save
          </ActionButton>
        )}
      </form>
      <p class="soft">
        SSH keys, check runs of a GitHub App, notes and notifications are set with{" "}
        <code>tidemill repo add</code>.
      </p>
      {webhook !== null && <NewWebhook webhook={webhook} done={() => setWebhook(null)} />}
    </details>
  );
}
