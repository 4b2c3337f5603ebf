import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { sessionInfo, viewer } from "../api/session";
import { ExecutionPage } from "../pages/execution/ExecutionPage";
import { ExecutionsPage } from "../pages/executions/ExecutionsPage";
import { HomePage } from "../pages/home/HomePage";
import { JobPage } from "../pages/job/JobPage";
import { readLoginRequest } from "../domain/loopback";
import { address, to } from "../router/router";
import { CommandLineAccess } from "./CommandLineAccess";
import { CommandPalette } from "./CommandPalette";
import { installKeys } from "./keys";
import { KeyHelp } from "./KeyHelp";
import { SignInPage } from "./SignInPage";
import { useTitle } from "./title";
import { TopBar } from "./TopBar";

/** A page whose code is loaded when it is first shown. */
function Later({ load }: { load: () => Promise<ComponentType> }): JSX.Element {
  const [Shown, setShown] = useState<ComponentType | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    load().then(
      (page) => setShown(() => page),
      () => setFailed(true),
    );
  }, [load]);
  if (Shown !== null) return <Shown />;
  return (
    <main id="main" tabIndex={-1}>
      {failed ? (
        <p role="alert">This page could not be loaded. The server may have a newer version: reload.</p>
      ) : null}
    </main>
  );
}

const loadStart = (): Promise<ComponentType> =>
  import("../pages/start/StartPage").then((module) => module.StartPage);
const loadInsights = (): Promise<ComponentType> =>
  import("../pages/insights/InsightsPage").then((module) => module.InsightsPage);
const loadWorkers = (): Promise<ComponentType> =>
  import("../pages/workers/WorkersPage").then((module) => module.WorkersPage);
const loadSettings = (): Promise<ComponentType> =>
  import("../pages/settings/SettingsPage").then((module) => module.SettingsPage);

function UnknownPage(): JSX.Element {
  useTitle("No such page");
  return (
    <main id="main" tabIndex={-1}>
      <h1>There is no such page</h1>
      <p>
        <a href={to.home()}>Home</a> · <a href={to.executions()}>Executions</a>
      </p>
    </main>
  );
}

function Page(): JSX.Element {
  const [page, id, part, name] = address.value.path;
  switch (page) {
    case undefined:
      return <HomePage />;
    case "executions":
      if (id === undefined) return <ExecutionsPage />;
      if (part === "jobs" && name !== undefined)
        return <JobPage key={`${id}/${name}`} executionId={id} jobName={name} />;
      return <ExecutionPage key={id} id={id} />;
    case "start":
      return <Later key={page} load={loadStart} />;
    case "insights":
      return <Later key={page} load={loadInsights} />;
    case "workers":
      return <Later key={page} load={loadWorkers} />;
    case "settings":
      return <Later key={page} load={loadSettings} />;
    default:
      return <UnknownPage />;
  }
}

/** The page on which a sign-in ends, and the command line asks for one. */
function LoginPage(): JSX.Element {
  const { query } = address.value;
  const isPerson = viewer.value === "identified" && sessionInfo.value?.caller?.session != null;
  if (!query.has("challenge") || !isPerson) return <SignInPage />;
  return <CommandLineAccess request={readLoginRequest(query)} />;
}

/** What the viewer may see at this address: the page, or the way to sign in. */
function Shown(): JSX.Element {
  const [first] = address.value.path;
  if (first === "login") return <LoginPage />;
  // Executions of a public repository need no sign-in. Whether a repository is public shows when the page asks for one.
  const isReadable =
    viewer.value === "identified" || (viewer.value === "anonymous" && first === "executions");
  if (viewer.value === "unknown") return <main id="main" aria-busy="true" />;
  if (!isReadable) return <SignInPage />;
  return (
    <>
      <TopBar />
      <Page />
      <CommandPalette />
      <KeyHelp />
    </>
  );
}

export function App(): JSX.Element {
  useEffect(installKeys, []);
  return <Shown />;
}
