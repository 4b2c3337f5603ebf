import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { signOut, switchUser } from "../api/account";
import { get } from "../api/client";
import { anonymous } from "../api/session";
import type { ExecutionSummary } from "../api/types";
import { Dialog } from "../components/Dialog";
import { shortRepo } from "../domain/names";
import { matches } from "../domain/search";
import { navigate, to } from "../router/router";
import { nextTheme, theme } from "./theme";

export const paletteOpen = signal(false);

interface Command {
  readonly text: string;
  readonly detail: string;
  readonly run: () => void;
}

const MAX_SHOWN = 12;

const SEARCH_BOX: object = { type: "search", role: "combobox" };

const SETTINGS: readonly string[] = [
  "account",
  "repositories",
  "deliveries",
  "schedules",
  "environments",
  "secrets",
  "registries",
  "tokens",
  "roles",
  "sessions",
  "audit",
  "dead-letters",
  "disk",
];

function pageCommands(): Command[] {
  const page = (text: string, href: string): Command => ({ text, detail: "page", run: () => navigate(href) });
  return [
    page("Home", to.home()),
    page("Executions", to.executions()),
    page("Failed executions", to.executions({ status: "FAILED" })),
    page("Running executions", to.executions({ status: "RUNNING" })),
    page("Insights", to.insights()),
    page("Workers", to.workers()),
    page("Start an execution", to.start()),
    ...SETTINGS.map((list) => page(`Settings: ${list.replace("-", " ")}`, to.settings(list))),
    { text: "Change colours", detail: "action", run: () => (theme.value = nextTheme[theme.value]) },
    { text: "Sign out", detail: "action", run: () => void signOut().catch(switchUser) },
  ];
}

function executionCommands(executions: readonly ExecutionSummary[]): Command[] {
  const repositories = [...new Set(executions.map((one) => one.repo))];
  return [
    ...repositories.map((repo) => ({
      text: shortRepo(repo),
      detail: "repository",
      run: () => navigate(to.executions({ repo })),
    })),
    ...executions.map((one) => ({
      text: `${one.pipeline_name} #${one.run_number}`,
      detail: `${shortRepo(one.repo)} ${one.branch ?? ""} ${one.commit_details?.message ?? ""}`,
      run: () => navigate(to.execution(one.id)),
    })),
  ];
}

function Palette(): JSX.Element {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const [executions, setExecutions] = useState<readonly ExecutionSummary[]>([]);
  useEffect(() => {
    if (anonymous.value) return;
    get("/api/pipeline/executions", { query: { limit: 100 } }).then(
      (list) => setExecutions(list.executions),
      () => setExecutions([]),
    );
  }, []);

  const found = [...pageCommands(), ...executionCommands(executions)]
    .filter((command) => matches(text, `${command.text} ${command.detail}`))
    .slice(0, MAX_SHOWN);
  const at = Math.min(chosen, Math.max(0, found.length - 1));
  const close = (): void => {
    paletteOpen.value = false;
  };
  const run = (command: Command | undefined): void => {
    if (command === undefined) return;
    close();
    command.run();
  };
  const press = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) setChosen((at + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter") run(found[at]);
    else return;
    event.preventDefault();
  };

  return (
    <Dialog label="Command palette" className="palette" onClose={close}>
      <input
        {...SEARCH_BOX}
        aria-label="Go to"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length > 0 ? `palette-${at}` : undefined}
        placeholder="Page, repository, pipeline, commit message…"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={press}
      />
      <ul id="palette-list" role="listbox" aria-label="Results">
        {found.map((command, index) => (
          <li
            key={`${command.text} ${command.detail}`}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at}
            onClick={() => run(command)}
          >
            <span>{command.text}</span> <span class="dim">{command.detail}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class="dim">Nothing matches.</p>}
    </Dialog>
  );
}

export function CommandPalette(): JSX.Element | null {
  return paletteOpen.value ? <Palette /> : null;
}
