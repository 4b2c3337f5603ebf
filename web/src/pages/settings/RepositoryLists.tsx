// Lists of repositories, and of what belongs to one.
import type { JSX } from "preact";
import { get, post, remove } from "../../api/client";
import { mayAdminister, mayRun } from "../../api/session";
import { ActionButton } from "../../components/ActionButton";
import { Age } from "../../components/Time";
import { shortCommit } from "../../domain/names";
import { navigate, to } from "../../router/router";
import { ListFrame } from "./ListFrame";
import { OfRepository } from "./OfRepository";
import { RegisterRepository } from "./RegisterRepository";
import { ProtectionsOf } from "./ProtectionList";
import { usePages } from "./usePages";

export function RepositoryList(): JSX.Element {
  const pages = usePages("repositories", async () => ({
    rows: (await get("/api/repository")).repositories,
    next: null,
  }));
  return (
    <>
      {pages.error === null && mayAdminister.value && <RegisterRepository saved={pages.reload} />}
      <ListFrame
        label="Repositories"
        pages={pages}
        rowKey={(one) => one.name}
        empty={
          <>
            No repository is registered. Register one here, or with <code>tidemill repo add</code>.
          </>
        }
        columns={[
          {
            name: "Repository",
            cell: (one) => (
              <>
                <a href={to.executions({ repo: one.url })} title={one.url}>
                  <strong>{one.name}</strong>
                </a>
                <br />
                <span class="dim">
                  {one.provider}, {one.default_branch ?? "default branch as webhooks say"}
                </span>
                {one.trouble != null && <p class="failed-text">{one.trouble}</p>}
              </>
            ),
          },
          { name: "Commit statuses", cell: (one) => (one.statuses ? "written" : "not written") },
          { name: "Credential", cell: (one) => one.credential?.kind ?? "none" },
          { name: "Readers", cell: (one) => (one.public === true ? "anyone" : "with a token") },
          { name: "Changed", cell: (one) => <Age time={one.updated_at} /> },
          {
            name: "Webhook",
            cell: (one) => <a href={to.settings("deliveries", { repo: one.url })}>Deliveries</a>,
          },
          {
            name: "Change",
            cell: (one) => (
              <span class="actions">
                <ActionButton
                  kind="small"
                  run={async () => {
                    const reply = await post("/api/repository/sync", { body: { repo: one.url } });
                    navigate(to.execution(reply.execution_id));
                  }}
                >
                  Read schedules
                </ActionButton>
                <ActionButton
                  kind="small"
                  run={async () => {
                    await post("/api/repository/redeliver", { body: { repo: one.url } });
                  }}
                >
                  Allow redelivery
                </ActionButton>
                {mayAdminister.value && (
                  <ActionButton
                    kind="small"
                    confirm="Really remove? Its records stay."
                    run={async () => {
                      await remove("/api/repository", { query: { repo: one.url } });
                      pages.reload();
                    }}
                  >
                    Remove
                  </ActionButton>
                )}
              </span>
            ),
          },
        ]}
      />
    </>
  );
}

function EnvironmentsOf({ repo }: { repo: string }): JSX.Element {
  const pages = usePages(repo, async (cursor) => {
    const page = await get("/api/environment", { query: { repo, ...(cursor === null ? {} : { cursor }) } });
    return { rows: page.environments, next: page.next_cursor ?? null };
  });
  return (
    <ListFrame
      label="Environments"
      pages={pages}
      rowKey={(one) => one.name}
      empty="No job of this repository deployed to an environment."
      columns={[
        { name: "Environment", cell: (one) => <strong>{one.name}</strong> },
        { name: "State", cell: (one) => one.state },
        {
          name: "Deployed",
          cell: (one) =>
            one.current == null ? (
              "never"
            ) : (
              <a href={to.job(one.current.execution_id, one.current.job_name)}>
                {one.current.pipeline_name} #{one.current.run_number}
              </a>
            ),
        },
        {
          name: "Commit",
          cell: (one) => (
            <span class="mono">{one.current?.commit == null ? "" : shortCommit(one.current.commit)}</span>
          ),
        },
        { name: "When", cell: (one) => (one.current == null ? "" : <Age time={one.current.start_time} />) },
        {
          name: "Address",
          cell: (one) => {
            const url = one.current?.url;
            return url != null && /^https?:/.test(url) ? (
              <a href={url} rel="noreferrer noopener" target="_blank">
                {url}
              </a>
            ) : (
              (url ?? "")
            );
          },
        },
        {
          name: "Change",
          cell: (one) =>
            mayRun.value &&
            one.state === "available" && (
              <ActionButton
                kind="small"
                confirm="Really stop?"
                run={async () => {
                  const { execution } = await post("/api/environment/stop", {
                    body: { repo, name: one.name },
                  });
                  if (execution == null) pages.reload();
                  else navigate(to.execution(execution.execution_id));
                }}
              >
                Stop
              </ActionButton>
            ),
        },
      ]}
    />
  );
}

export const EnvironmentList = (): JSX.Element => (
  <OfRepository
    list={(repo) => (
      <>
        <EnvironmentsOf repo={repo} />
        <ProtectionsOf repo={repo} />
      </>
    )}
  />
);
