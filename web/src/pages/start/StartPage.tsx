import type { JSX } from "preact";
import { mayRun, sessionInfo } from "../../api/session";
import { address, to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { FileStart } from "./FileStart";
import { RepositoryStart } from "./RepositoryStart";

/** What the viewer lacks, in place of a form that they cannot use. */
function MayNotStart(): JSX.Element {
  const isPerson = sessionInfo.value?.caller?.person != null;
  return (
    <p class="note warning">
      {isPerson
        ? "To start an execution, you need the role developer in its repository. Ask an administrator for it."
        : "To start an execution, the token needs the scope run. Ask an administrator for a token that has it."}
    </p>
  );
}

function Start(): JSX.Element {
  const isOfFile = address.value.query.get("from") === "file";
  const tabs = [
    { text: "A pipeline of a repository", href: to.start(), current: !isOfFile },
    { text: "A file", href: to.start({ from: "file" }), current: isOfFile },
  ];
  return (
    <>
      <div class="tabs">
        <nav aria-label="What to start">
          {tabs.map((tab) => (
            <a key={tab.href} href={tab.href} aria-current={tab.current ? "page" : undefined}>
              {tab.text}
            </a>
          ))}
        </nav>
      </div>
      {isOfFile ? <FileStart /> : <RepositoryStart />}
    </>
  );
}

/** Starts an execution by hand: a pipeline of a repository, or a file that the user has. */
export function StartPage(): JSX.Element {
  useTitle("Start an execution");
  return (
    <main id="main" tabIndex={-1} class="narrow">
      <h1>Start an execution</h1>
      {mayRun.value ? <Start /> : <MayNotStart />}
    </main>
  );
}
