import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get } from "../api/client";

/** The repositories of the newest executions. */
async function knownRepositories(signal: AbortSignal): Promise<string[]> {
  const page = await get("/api/pipeline/executions", { query: { limit: 200 }, signal });
  return [...new Set(page.executions.map((one) => one.repo))].sort();
}

/** The address of a repository, with those offered that ran something. */
export function RepositoryChoice({
  value,
  onValue,
}: {
  value: string;
  onValue: (repo: string) => void;
}): JSX.Element {
  const [known, setKnown] = useState<readonly string[]>([]);
  useEffect(() => {
    const stop = new AbortController();
    knownRepositories(stop.signal).then(setKnown, () => undefined);
    return () => stop.abort();
  }, []);
  return (
    <label class="field">
      <span>Repository</span>
      <input
        required
        list="known-repositories"
        spellcheck={false}
        placeholder="https://git.example.org/team/app.git"
        value={value}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      <datalist id="known-repositories">
        {known.map((repo) => (
          <option key={repo} value={repo} />
        ))}
      </datalist>
    </label>
  );
}
