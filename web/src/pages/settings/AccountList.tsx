// Who is signed in, what that allows, and where else the person is signed in.
import type { JSX } from "preact";
import { signOut } from "../../api/account";
import { get, remove } from "../../api/client";
import { sessionInfo } from "../../api/session";
import type { CallerView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { DataTable } from "../../components/DataTable";
import { Age } from "../../components/Time";
import { browserName } from "../../domain/browser";
import { formatTime } from "../../domain/duration";
import { shortRepo } from "../../domain/names";
import { ListFrame } from "./ListFrame";
import { usePages } from "./usePages";

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

function Sessions(): JSX.Element {
  const pages = usePages("sessions", async () => ({
    rows: (await get("/api/session/list")).sessions,
    next: null,
  }));
  return (
    <ListFrame
      label="Your sessions"
      pages={pages}
      rowKey={(one) => one.id}
      empty="You are signed in with no browser."
      columns={[
        {
          name: "Browser",
          cell: (one) => (
            <>
              <strong title={one.browser ?? undefined}>{browserName(one.browser)}</strong>
              {one.current && <span class="dim"> this one</span>}
            </>
          ),
        },
        { name: "From", cell: (one) => <span class="mono">{one.from ?? ""}</span> },
        { name: "Signed in", cell: (one) => <Age time={one.created_at} /> },
        { name: "Last used", cell: (one) => <Age time={one.used_at} /> },
        { name: "Ends", cell: (one) => <time dateTime={one.expires_at}>{formatTime(one.expires_at)}</time> },
        {
          name: "Change",
          cell: (one) => (
            <ActionButton
              kind="small"
              confirm="Really end?"
              run={async () => {
                if (one.current) {
                  await signOut();
                  return;
                }
                await remove("/api/session/end/{sessionId}", { path: { sessionId: one.id } });
                pages.reload();
              }}
            >
              End
            </ActionButton>
          ),
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
      <Sessions />
      <p class="soft">
        A session ends after 30 days, or 7 days without use. Groups are read at a sign-in: sign in again after
        they have changed.
      </p>
    </>
  );
}
