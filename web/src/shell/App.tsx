import type { JSX } from "preact";
import { signedIn } from "../api/session";
import { ExecutionPage } from "../pages/execution/ExecutionPage";
import { HomePage } from "../pages/home/HomePage";
import { JobPage } from "../pages/job/JobPage";
import { address } from "../router/router";
import { SignInPage } from "./SignInPage";

function Page(): JSX.Element {
  const [page, id, part, partId] = address.value.path;
  if (page === undefined) return <HomePage />;
  if (page === "execution" && id !== undefined) {
    if (part === "job" && partId !== undefined) return <JobPage executionId={id} jobId={partId} />;
    return <ExecutionPage id={id} />;
  }
  return (
    <main id="main" tabIndex={-1}>
      <h1>There is no such page</h1>
      <p>
        <a href="#/">Home</a>
      </p>
    </main>
  );
}

export function App(): JSX.Element {
  return signedIn.value ? <Page /> : <SignInPage />;
}
