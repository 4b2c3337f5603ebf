// Sessions of people, with the way to end one.
import type { JSX } from "preact";
import { signOut } from "../../api/account";
import { get, remove } from "../../api/client";
import type { SessionView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { type Column } from "../../components/DataTable";
import { Age } from "../../components/Time";
import { browserName } from "../../domain/browser";
import { formatTime } from "../../domain/duration";
import { ListFrame } from "./ListFrame";
import { type Pages, usePages } from "./usePages";

async function end(session: SessionView, pages: Pages<SessionView>): Promise<void> {
  if (session.current) {
    await signOut();
    return;
  }
  await remove("/api/session/end/{sessionId}", {
    path: { sessionId: session.id },
    query: session.person == null ? {} : { person: session.person },
  });
  pages.reload();
}

function columns(pages: Pages<SessionView>): readonly Column<SessionView>[] {
  return [
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
        <ActionButton kind="small" confirm="Really end?" run={() => end(one, pages)}>
          End
        </ActionButton>
      ),
    },
  ];
}

/** The sessions of the viewer. */
export function OwnSessions(): JSX.Element {
  const pages = usePages("own sessions", async () => ({
    rows: (await get("/api/session/list")).sessions,
    next: null,
  }));
  return (
    <ListFrame
      label="Your sessions"
      pages={pages}
      rowKey={(one) => one.id}
      empty="You are signed in with no browser."
      columns={columns(pages)}
    />
  );
}

/** The sessions of all people, for administrators. */
export function SessionList(): JSX.Element {
  const pages = usePages("sessions", async () => ({
    rows: (await get("/api/session/list", { query: { all: true } })).sessions,
    next: null,
  }));
  return (
    <ListFrame
      label="Sessions"
      pages={pages}
      rowKey={(one) => one.id}
      empty="Nobody is signed in."
      columns={[
        {
          name: "Person",
          cell: (one) => (
            <>
              <strong>{one.name}</strong> <span class="dim mono">{one.person}</span>
            </>
          ),
        },
        ...columns(pages),
      ]}
    />
  );
}
