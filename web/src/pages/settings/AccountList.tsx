// Who is signed in, what that allows, and where else the person is signed in.
import type { JSX } from "preact";
import { loadSession } from "../../api/account";
import { sessionError, sessionInfo } from "../../api/session";
import type { CallerView } from "../../api/types";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { shortRepo } from "../../domain/names";
import { OwnSessions } from "./SessionList";

function Names({ label, names }: { label: string; names: readonly string[] }): JSX.Element | null {
  if (names.length === 0) return null;
  return (
    <div>
      <dt>{label}</dt>
      {names.map((name) => (
        <dd key={name} class="mono">
          {name}
        </dd>
      ))}
    </div>
  );
}

function Roles({ caller }: { caller: CallerView }): JSX.Element {
  const roles = caller.roles ?? [];
  return (
    <DataTable
      label="Your roles"
      rows={roles}
      rowKey={(grant) => `${grant.role} ${grant.repo}`}
      empty={
        <>
          You have no role, so that you see nothing yet. An administrator gives one with{" "}
          <code>tidemill roles set</code> or in <em>Settings</em>, to one of your names or groups above.
        </>
      }
      columns={[
        { name: "Role", cell: (grant) => <strong>{grant.role}</strong> },
        {
          name: "Repositories",
          cell: (grant) => (grant.repo === "*" ? "all" : <span class="mono">{grant.repo}</span>),
        },
      ]}
    />
  );
}

function Token({ caller }: { caller: CallerView }): JSX.Element {
  return (
    <dl class="facts-list">
      <Names label="Token" names={[caller.name]} />
      <Names label="Scopes" names={caller.scopes} />
      <Names label="Repository" names={[caller.repo == null ? "all" : shortRepo(caller.repo)]} />
    </dl>
  );
}

export function AccountList(): JSX.Element {
  const caller = sessionInfo.value?.caller;
  const error = sessionError.value;
  if (error !== null) return <ErrorNote error={error} retry={() => void loadSession()} />;
  if (caller == null) return <p class="dim">Loading…</p>;
  if (caller.person == null) return <Token caller={caller} />;
  return (
    <>
      <dl class="facts-list">
        <div>
          <dt>Signed in as</dt>
          <dd>
            <strong>{caller.name}</strong>
          </dd>
        </div>
        <Names label="Your names in rules of roles" names={caller.names ?? []} />
        <Names label="Your groups, as of the sign-in" names={caller.groups ?? []} />
      </dl>
      <h2>Roles</h2>
      <Roles caller={caller} />
      <h2>Sessions</h2>
      <OwnSessions />
      <p class="soft">
        A session ends after 30 days, or 7 days without use. Groups are read at a sign-in: sign in again after
        they have changed.
      </p>
    </>
  );
}
