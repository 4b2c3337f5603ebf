import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type ApiError, type Body, post } from "../../api/client";
import { once } from "../../api/idempotency";
import { ErrorNote } from "../../components/ErrorNote";
import { Icon } from "../../components/Icon";
import { RepositoryChoice } from "../../components/RepositoryChoice";
import { asApiError } from "../../components/useLive";
import { inputValues } from "../../domain/inputs";
import { navigate, to } from "../../router/router";
import { PipelineInputs } from "./InputFields";
import { usePipeline } from "./usePipeline";

/** Starts a pipeline file that the user has: with a repository, a branch, and the values of the pipeline's inputs. */
export function FileStart(): JSX.Element {
  const [pipeline, setPipeline] = useState("");
  const [repo, setRepo] = useState("");
  const [branch, setBranch] = useState("main");
  const [commit, setCommit] = useState("");
  const [checkout, setCheckout] = useState(false);
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const { read, error: readError } = usePipeline(pipeline);
  const isRead = read?.text === pipeline;
  const changePipeline = (text: string): void => {
    setPipeline(text);
    setTexts(new Map());
  };

  const start = async (): Promise<void> => {
    if (!isRead) return;
    const body: Body<"/api/pipeline/execute", "post"> = {
      pipeline,
      repo,
      branch,
      ...(commit === "" ? {} : { commit }),
      source: checkout ? { kind: "git", url: repo, branch, commit } : { kind: "none" },
      inputs: inputValues(read.fields, texts),
      force: true,
    };
    const reply = await once({ start: body }, (headers) => post("/api/pipeline/execute", { body, headers }));
    navigate(to.execution(reply.execution_id));
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    start()
      .catch((cause: unknown) => setError(asApiError(cause)))
      .finally(() => setBusy(false));
  };

  return (
    <form class="card padded form" onSubmit={submit}>
      <RepositoryChoice value={repo} onValue={setRepo} />
      <div class="field-pair">
        <label class="field">
          <span>Branch</span>
          <input
            required
            value={branch}
            spellcheck={false}
            onInput={(event) => setBranch(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>Commit {!checkout && <span class="dim">(optional)</span>}</span>
          <input
            class="mono"
            required={checkout}
            pattern="[0-9a-f]{40}|[0-9a-f]{64}"
            title="The full hash of a commit"
            value={commit}
            spellcheck={false}
            onInput={(event) => setCommit(event.currentTarget.value.trim())}
          />
        </label>
      </div>
      <label class="check">
        <input
          type="checkbox"
          checked={checkout}
          onChange={(event) => setCheckout(event.currentTarget.checked)}
        />
        <span>Check out the commit from the repository; otherwise jobs start in an empty directory</span>
      </label>
      <label class="field">
        <span>Pipeline file</span>
        <input
          type="file"
          accept=".yml,.yaml"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file !== undefined) void file.text().then(changePipeline);
          }}
        />
      </label>
      <label class="field">
        <span>Its text</span>
        <textarea
          class="mono"
          rows={12}
          required
          spellcheck={false}
          placeholder={'name: hello\njobs:\n  greet: { image: "busybox:1.37", script: [echo hello] }'}
          value={pipeline}
          onInput={(event) => changePipeline(event.currentTarget.value)}
        />
      </label>
      {readError !== null && <ErrorNote error={readError} />}
      {read !== null && <PipelineInputs read={read} current={isRead} texts={texts} onTexts={setTexts} />}
      {error !== null && <ErrorNote error={error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={busy || !isRead}>
          <Icon name="play" />
          Start
        </button>
      </div>
    </form>
  );
}
