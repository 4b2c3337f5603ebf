import type { ComponentType, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { address, to } from "../../router/router";
import { useTitle } from "../../shell/title";
import { AccountList } from "./AccountList";
import { AuditList, DeadLetterList } from "./ServerLists";
import { BadgeList } from "./BadgeList";
import { DeliveryList } from "./DeliveryList";
import { DiskUse } from "./DiskUse";
import { RetentionList } from "./RetentionList";
import { RoleList } from "./RoleList";
import { ScheduleList } from "./ScheduleList";
import { SecretList } from "./SecretList";
import { SessionList } from "./SessionList";
import { TokenList } from "./TokenList";
import { RegistryList } from "./RegistryList";
import { EnvironmentList, RepositoryList } from "./RepositoryLists";

const LISTS: Record<string, { title: string; about: string; List: ComponentType }> = {
  repositories: {
    title: "Repositories",
    about: "Registered repositories, whose webhooks start pipelines.",
    List: RepositoryList,
  },
  deliveries: {
    title: "Webhook deliveries",
    about: "What a repository’s provider sent last, and what Tidemill did about it.",
    List: DeliveryList,
  },
  schedules: {
    title: "Schedules",
    about: "When pipelines start by themselves.",
    List: ScheduleList,
  },
  environments: {
    title: "Environments",
    about: "Where the jobs of a repository deploy to.",
    List: EnvironmentList,
  },
  secrets: {
    title: "Secrets and variables",
    about: "What jobs of a repository get. No page shows a secret.",
    List: SecretList,
  },
  registries: {
    title: "Registries",
    about: "The logins of a repository at registries of images.",
    List: RegistryList,
  },
  badges: {
    title: "Badges",
    about: "Images for READMEs that show whether a default branch passes.",
    List: BadgeList,
  },
  tokens: { title: "Tokens", about: "Who may use the API, and for what.", List: TokenList },
  roles: { title: "Roles", about: "What people who sign in may do, and where.", List: RoleList },
  sessions: { title: "Sessions", about: "Where people are signed in.", List: SessionList },
  audit: { title: "Audit log", about: "Changes that users made, newest first.", List: AuditList },
  "dead-letters": {
    title: "Dead letters",
    about: "Jobs that ended for a reason that was not their own.",
    List: DeadLetterList,
  },
  retention: {
    title: "Retention",
    about: "How long executions, logs and artifacts are kept.",
    List: RetentionList,
  },
  disk: { title: "Disk use", about: "What the server stores, and whose it is.", List: DiskUse },
  account: {
    title: "Your account",
    about: "Who you are here, and what you may do.",
    List: AccountList,
  },
};

/** Lists of what an administrator sets up. */
export function SettingsPage(): JSX.Element {
  const name = address.value.path[1] ?? "repositories";
  const shown = LISTS[name];
  useTitle(shown?.title ?? "Settings");
  const lists = useRef<HTMLElement>(null);
  // On a phone, the lists are one line that is wider than the screen.
  useEffect(() => {
    const current = lists.current?.querySelector<HTMLElement>("[aria-current]");
    if (current == null || lists.current == null) return;
    const { width } = lists.current.getBoundingClientRect();
    lists.current.scrollLeft +=
      current.offsetLeft - lists.current.offsetLeft - (width - current.offsetWidth) / 2;
  }, [name]);
  return (
    <main id="main" tabIndex={-1} class="settings">
      <nav aria-label="Settings" ref={lists}>
        {Object.entries(LISTS).map(([key, list]) => (
          <a key={key} href={to.settings(key)} aria-current={key === name ? "page" : undefined}>
            {list.title}
          </a>
        ))}
      </nav>
      {shown === undefined ? (
        <h1>There is no such list</h1>
      ) : (
        <div class="settings-list">
          <h1>{shown.title}</h1>
          <p class="soft">{shown.about}</p>
          <shown.List key={name} />
        </div>
      )}
    </main>
  );
}
