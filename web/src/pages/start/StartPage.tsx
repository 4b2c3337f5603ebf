import type { JSX } from "preact";
import { address, to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { FileStart } from "./FileStart";
import { RepositoryStart } from "./RepositoryStart";

/** Starts an execution by hand: a pipeline of a repository, or a file that the user has. */
export function StartPage(): JSX.Element {
  useTitle("Start an execution");
  const isOfFile = address.value.query.get("from") === "file";
  const tabs = [
    { text: "A pipeline of a repository", href: to.start(), current: !isOfFile },
    { text: "A file", href: to.start({ from: "file" }), current: isOfFile },
  ];
  return (
    <main id="main" tabIndex={-1} class="narrow">
      <h1>Start an execution</h1>
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
    </main>
  );
}
