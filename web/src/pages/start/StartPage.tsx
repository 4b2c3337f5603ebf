import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, type Body, post } from "../../api/client";
import { once } from "../../api/idempotency";
import { ErrorNote } from "../../components/ErrorNote";
import { Icon } from "../../components/Icon";
import { RepositoryChoice } from "../../components/RepositoryChoice";
import { asApiError } from "../../components/useLive";
import { type InputField, inputFields, inputValues } from "../../domain/inputs";
import { navigate, to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { InputControl } from "./InputFields";

interface Read {
  /** The text that was read. */
  readonly text: string;
  readonly name: string;
  readonly fields: readonly InputField[];
}

const READ_DELAY_MS = 400;

/** Reads the inputs of a pipeline file whenever its text rests. */
function usePipeline(text: string): { read: Read | null; error: ApiError | null } {
  const [state, setState] = useState<{ read: Read | null; error: ApiError | null }>({
    read: null,
    error: null,
  });
  useEffect(() => {
    if (text.trim() === "") {
      setState({ read: null, error: null });
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      post("/api/pipeline/inputs", { body: { pipeline: text }, signal: stop.signal }).then(
        (reply) =>
          setState({
            read: { text, name: reply.pipeline_name, fields: inputFields(reply.schema) },
            error: null,
          }),
        (cause: unknown) => {
          if (!stop.signal.aborted) setState({ read: null, error: asApiError(cause) });
        },
      );
    }, READ_DELAY_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text]);
  return state;
}

/** Starts an execution by hand: a pipeline file, a repository, a branch, and the values of the pipeline's inputs. */
export function StartPage(): JSX.Element {
  useTitle("Start an execution");
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
    <main id="main" tabIndex={-1} class="narrow">
      <h1>Start an execution</h1>
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
        {read !== null && (
          <fieldset disabled={!isRead}>
            <legend>
              Inputs of <strong>{read.name}</strong>
            </legend>
            {read.fields.length === 0 && <p class="dim">The pipeline has no inputs.</p>}
            {read.fields.map((field) => (
              <InputControl
                key={field.name}
                field={field}
                value={texts.get(field.name) ?? field.initial}
                onValue={(value) => setTexts(new Map(texts).set(field.name, value))}
              />
            ))}
          </fieldset>
        )}
        {error !== null && <ErrorNote error={error} />}
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || !isRead}>
            <Icon name="play" />
            Start
          </button>
        </div>
      </form>
    </main>
  );
}
