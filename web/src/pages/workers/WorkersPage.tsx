import type { JSX } from "preact";
import { get, post } from "../../api/client";
import { mayAdminister } from "../../api/session";
import type { WorkerView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { StatusIcon } from "../../components/StatusIcon";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { to } from "../../router/router";
import { useTitle } from "../../shell/title";

function State({ worker }: { worker: WorkerView }): JSX.Element {
  if (!worker.online) {
    return (
      <>
        <StatusIcon tone="skipped" /> offline
      </>
    );
  }
  if (worker.draining) {
    return (
      <>
        <StatusIcon tone="approval" /> draining
      </>
    );
  }
  return worker.running.length > 0 ? (
    <>
      <StatusIcon tone="running" /> busy
    </>
  ) : (
    <>
      <StatusIcon tone="success" /> idle
    </>
  );
}

/** What the slots of a worker are used for. */
function Slots({ worker }: { worker: WorkerView }): JSX.Element {
  return (
    <>
      <span class="number">
        {worker.running.length}/{worker.slots}
      </span>
      <ul>
        {worker.running.map((job) => (
          <li key={job.job_id}>
            <a href={to.job(job.execution_id, job.job_name)}>{job.job_name}</a>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The workers, with what they run. */
export function WorkersPage(): JSX.Element {
  useTitle("Workers");
  const { value, error, refresh } = useLive(
    "workers",
    async (signal) => (await get("/api/workers", { signal })).workers,
  );
  return (
    <main id="main" tabIndex={-1}>
      <h1>Workers</h1>
      {error !== null && <ErrorNote error={error} retry={refresh} />}
      {value === null && error === null && <p class="dim">Loading…</p>}
      {value !== null && (
        <DataTable
          label="Workers"
          rows={value}
          rowKey={(worker) => worker.id}
          empty="No worker has reported yet. A worker reports when it starts, and then once a minute."
          columns={[
            { name: "Worker", cell: (worker) => <strong>{worker.name}</strong> },
            {
              name: "State",
              cell: (worker) => (
                <span class="unbroken">
                  <State worker={worker} />
                </span>
              ),
            },
            { name: "Jobs of slots", cell: (worker) => <Slots worker={worker} /> },
            {
              name: "Labels",
              cell: (worker) => (
                <span class="mono">
                  {Object.entries(worker.labels)
                    .map(([name, label]) => `${name}=${label}`)
                    .join(" ")}
                </span>
              ),
            },
            { name: "Version", cell: (worker) => <span class="mono">{worker.version}</span> },
            { name: "Last seen", cell: (worker) => <Age time={worker.last_seen_at} /> },
            {
              name: "Change",
              cell: (worker) =>
                mayAdminister.value &&
                (!worker.online ? (
                  <ActionButton
                    kind="small"
                    confirm="Really remove?"
                    run={async () => {
                      await post("/api/worker/remove", { body: { worker: worker.id } });
                      refresh();
                    }}
                  >
                    Remove
                  </ActionButton>
                ) : !worker.draining ? (
                  <ActionButton
                    kind="small"
                    confirm="Really drain?"
                    run={async () => {
                      await post("/api/worker/drain", { body: { worker: worker.id } });
                      refresh();
                    }}
                  >
                    Drain
                  </ActionButton>
                ) : null),
            },
          ]}
        />
      )}
    </main>
  );
}
