import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { RepositoryChoice } from "../../components/RepositoryChoice";
import { address, setQuery } from "../../router/router";

/** Asks for the repository whose list is shown; it is in the page's address. */
export function OfRepository({ list }: { list: (repo: string) => JSX.Element }): JSX.Element {
  const repo = address.value.query.get("repo") ?? "";
  const [text, setText] = useState(repo);
  return (
    <>
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          setQuery({ repo: text });
        }}
      >
        <RepositoryChoice value={text} onValue={setText} />
        <button type="submit">Show</button>
      </form>
      {repo !== "" && list(repo)}
    </>
  );
}
