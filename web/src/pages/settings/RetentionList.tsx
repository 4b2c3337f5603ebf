// How long executions, logs and artifacts are kept: the rules of the server, and those of a repository.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get, post } from "../../api/client";
import { mayAdminister } from "../../api/session";
import { ActionButton } from "../../components/ActionButton";
import {
  EMPTY_FORM,
  formOf,
  NUMBER_FIELDS,
  type RetentionForm,
  rulesOf,
  ruleText,
  withRule,
} from "../../domain/retention";
import { ListFrame } from "./ListFrame";
import { OfRepository } from "./OfRepository";
import { usePages } from "./usePages";

/** The repository whose rules are shown; `null`: the server. */
type Owner = string | null;

const ofOwner = (repo: Owner): { repo?: string } => (repo === null ? {} : { repo });

/** Sets one rule, in the settings as they are now: another user may have changed another one since the page was loaded. */
async function save(repo: Owner, form: RetentionForm): Promise<void> {
  const { settings } = await get("/api/retention", { query: ofOwner(repo) });
  await post("/api/retention", { body: { ...ofOwner(repo), settings: withRule(settings, form) } });
}

function RuleForm({
  repo,
  form,
  onForm,
  saved,
}: {
  repo: Owner;
  form: RetentionForm;
  onForm: (form: RetentionForm) => void;
  saved: () => void;
}): JSX.Element {
  const set = (change: Partial<RetentionForm>): void => onForm({ ...form, ...change });
  const isEmpty = Object.entries(form).every(([field, value]) => field === "pipeline" || value === "");
  return (
    <form
      class="inline-form"
      aria-label={repo === null ? "Set a rule of the server" : "Set a rule of the repository"}
      onSubmit={(event) => event.preventDefault()}
    >
      <label class="field">
        <span>Pipeline</span>
        <input
          spellcheck={false}
          placeholder="all"
          value={form.pipeline}
          onInput={(event) => set({ pipeline: event.currentTarget.value })}
        />
      </label>
      {NUMBER_FIELDS.map(({ field, label, zero }) => (
        <label key={field} class="field">
          <span>
            {label} <span class="dim">({zero})</span>
          </span>
          <input
            type="number"
            min="0"
            value={form[field]}
            onInput={(event) => set({ [field]: event.currentTarget.value })}
          />
        </label>
      ))}
      <label class="field">
        <span>Executions of tags</span>
        <select
          value={form.keepTags}
          onChange={(event) => {
            const { value } = event.currentTarget;
            set({ keepTags: value === "yes" || value === "no" ? value : "" });
          }}
        >
          <option value="">as the next rule says</option>
          <option value="yes">kept for ever</option>
          <option value="no">as any other</option>
        </select>
      </label>
      {isEmpty ? (
        <button type="button" class="primary" disabled>
          Set
        </button>
      ) : (
        <ActionButton
          kind="primary"
          run={async () => {
            await save(repo, form);
            saved();
          }}
        >
          Set
        </ActionButton>
      )}
    </form>
  );
}

function RulesOf({ repo, title }: { repo: Owner; title: string }): JSX.Element {
  const [form, setForm] = useState(EMPTY_FORM);
  const pages = usePages(repo ?? "", async () => {
    const view = await get("/api/retention", { query: ofOwner(repo) });
    return { rows: rulesOf(view.settings), next: null };
  });
  const reload = (): void => {
    setForm(EMPTY_FORM);
    pages.reload();
  };
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {pages.error === null && mayAdminister.value && (
        <RuleForm repo={repo} form={form} onForm={setForm} saved={reload} />
      )}
      <ListFrame
        label={title}
        pages={pages}
        rowKey={({ pipeline }) => pipeline}
        empty={
          repo === null
            ? "There are none: executions and their logs are kept for ever."
            : "There are none: those of the server apply."
        }
        columns={[
          { name: "Pipeline", cell: ({ pipeline }) => <strong>{pipeline === "" ? "all" : pipeline}</strong> },
          { name: "Keeps", cell: ({ rule }) => ruleText(rule).join("; ") },
          {
            name: "Change",
            cell: ({ pipeline, rule }) =>
              mayAdminister.value && (
                <span class="actions">
                  <button type="button" class="small" onClick={() => setForm(formOf(pipeline, rule))}>
                    Edit
                  </button>
                  <ActionButton
                    kind="small"
                    confirm="Really remove?"
                    run={async () => {
                      await save(repo, { ...EMPTY_FORM, pipeline });
                      reload();
                    }}
                  >
                    Remove
                  </ActionButton>
                </span>
              ),
          },
        ]}
      />
    </section>
  );
}

export const RetentionList = (): JSX.Element => (
  <>
    <RulesOf repo={null} title="Rules of the server" />
    <p class="soft">
      Each number comes from the nearest of: the rule of the pipeline, that of the repository, and those of
      the server. What is pinned, runs or is needed by another execution is kept whatever a rule says.
    </p>
    <OfRepository list={(repo) => <RulesOf key={repo} repo={repo} title="Rules of the repository" />} />
  </>
);
