import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, get, post } from "../../api/client";
import { once } from "../../api/idempotency";
import type { Overview } from "../../api/types";
import { ErrorNote } from "../../components/ErrorNote";
import { Icon } from "../../components/Icon";
import { RepositoryChoice } from "../../components/RepositoryChoice";
import { asApiError, useLive } from "../../components/useLive";
import { inputValues } from "../../domain/inputs";
import { knownBranches, knownPipelines } from "../../domain/start";
import { navigate, to } from "../../router/router";
import { PipelineInputs } from "./InputFields";
import { usePipeline } from "./usePipeline";

interface File {
  readonly path: string;
  readonly content: string;
}

/** The pipeline file of an execution, if it is one of the repository. */
function useFile(executionId: string | null): { file: File | null; error: ApiError | null } {
  const [state, setState] = useState<{ file: File | null; error: ApiError | null }>({
    file: null,
    error: null,
  });
  useEffect(() => {
    setState({ file: null, error: null });
    if (executionId === null) return;
    const stop = new AbortController();
    const path = "/api/pipeline/file/{executionId}" as const;
    get(path, { path: { executionId }, signal: stop.signal }).then(
      (file) =>
        setState({
          file: file.path == null ? null : { path: file.path, content: file.content },
          error: null,
        }),
      (cause: unknown) => {
        if (!stop.signal.aborted) setState({ file: null, error: asApiError(cause) });
      },
    );
    return () => stop.abort();
  }, [executionId]);
  return state;
}

function Form({ repositories }: { repositories: Overview["repositories"] }): JSX.Element {
  const [repo, setRepo] = useState(repositories[0]?.repo ?? "");
  const [branch, setBranch] = useState("");
  const [chosen, setChosen] = useState("");
  const [typed, setTyped] = useState<string | null>(null);
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);

  const pipelines = knownPipelines(repositories, repo);
  const pipeline = pipelines.find((one) => one.name === chosen) ?? pipelines[0] ?? null;
  const { file, error: fileError } = useFile(pipeline?.executionId ?? null);
  const path = typed ?? file?.path ?? "";
  // Inputs are those of the file as it ran last; the server checks them against the file of the branch.
  const isKnown = file !== null && path === file.path;
  const { read, error: readError } = usePipeline(isKnown ? file.content : "");

  const start = async (): Promise<void> => {
    const body = {
      repo,
      path,
      ...(branch === "" ? {} : { branch }),
      inputs: read === null ? {} : inputValues(read.fields, texts),
    };
    const reply = await once(body, (headers) => post("/api/repository/run", { body, headers }));
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
      <RepositoryChoice
        value={repo}
        onValue={(value) => {
          setRepo(value);
          setChosen("");
          setTyped(null);
          setTexts(new Map());
        }}
      />
      <div class="field-pair">
        <label class="field">
          <span>Pipeline</span>
          <select
            value={pipeline?.name ?? ""}
            disabled={pipelines.length === 0}
            onChange={(event) => {
              setChosen(event.currentTarget.value);
              setTyped(null);
              setTexts(new Map());
            }}
          >
            {pipelines.length === 0 && <option value="">none has ended yet</option>}
            {pipelines.map((one) => (
              <option key={one.name}>{one.name}</option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>
            Branch <span class="dim">(optional)</span>
          </span>
          <input
            list="known-branches"
            spellcheck={false}
            placeholder="the default branch"
            value={branch}
            onInput={(event) => setBranch(event.currentTarget.value.trim())}
          />
          <datalist id="known-branches">
            {knownBranches(repositories, repo).map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        </label>
      </div>
      <label class="field">
        <span>Its file</span>
        <input
          class="mono"
          required
          spellcheck={false}
          placeholder=".pipelines/ci.yml"
          value={path}
          onInput={(event) => setTyped(event.currentTarget.value.trim())}
        />
      </label>
      {fileError !== null && <ErrorNote error={fileError} />}
      {readError !== null && <ErrorNote error={readError} />}
      {read !== null && <PipelineInputs read={read} current={isKnown} texts={texts} onTexts={setTexts} />}
      {error !== null && <ErrorNote error={error} />}
      <p class="soft">
        A worker reads the file at the head of the branch, and the pipeline starts, whatever its triggers are.
        The repository must be registered.
      </p>
      <div class="actions">
        <button type="submit" class="primary" disabled={busy}>
          <Icon name="play" />
          Start
        </button>
      </div>
    </form>
  );
}

/** Starts a pipeline of a registered repository at the head of a branch. */
export function RepositoryStart(): JSX.Element {
  const { value, error, refresh } = useLive(
    "start",
    (signal) => get("/api/overview", { signal }),
    () => true,
  );
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  return <Form repositories={value.repositories} />;
}
