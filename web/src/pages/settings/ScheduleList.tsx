import type { JSX } from "preact";
import { get, post } from "../../api/client";
import { once } from "../../api/idempotency";
import { mayRun } from "../../api/session";
import type { ScheduleView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { useLive } from "../../components/useLive";
import { formatTime } from "../../domain/duration";
import { shortRepo } from "../../domain/names";
import { navigate, to } from "../../router/router";

function NextTimes({ schedule }: { schedule: ScheduleView }): JSX.Element {
  return (
    <>
      {schedule.missed_at != null && (
        <p class="failed-text">could not start at {formatTime(schedule.missed_at)}; it is tried again</p>
      )}
      {schedule.next_times.length === 0 && "never"}
      <ul>
        {schedule.next_times.map((time) => (
          <li key={time}>
            <time dateTime={time}>{formatTime(time)}</time>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The schedules of all registered repositories, with their next times. */
export function ScheduleList(): JSX.Element {
  const { value, error, refresh } = useLive("schedules", (signal) => get("/api/schedule", { signal }));
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  return (
    <>
      {value.truncated === true && <p class="note warning">There are more schedules than one reply has.</p>}
      <DataTable
        label="Schedules"
        rows={value.schedules}
        rowKey={(one) => `${one.repo} ${one.path} ${one.index}`}
        empty={
          <>
            No pipeline of a registered repository has a schedule: <code>{"on: { schedule: … }"}</code>.
          </>
        }
        columns={[
          { name: "Repository", cell: (one) => <span title={one.repo}>{shortRepo(one.repo)}</span> },
          {
            name: "Pipeline",
            cell: (one) => (
              <>
                <strong>{one.pipeline_name}</strong> <span class="dim mono">{one.path}</span>
                {one.description != null && <p class="soft">{one.description}</p>}
              </>
            ),
          },
          {
            name: "Schedule",
            cell: (one) => (
              <>
                <span class="mono">{one.cron}</span> <span class="dim">{one.time_zone}</span>
              </>
            ),
          },
          { name: "Next times", cell: (one) => <NextTimes schedule={one} /> },
          {
            name: "Last",
            cell: (one) =>
              one.last_execution == null ? "never" : <a href={to.execution(one.last_execution)}>show</a>,
          },
          {
            name: "Change",
            cell: ({ repo, path, index }) =>
              mayRun.value && (
                <ActionButton
                  kind="small"
                  run={async () => {
                    const body = { repo, path, index };
                    const reply = await once({ schedule: body }, (headers) =>
                      post("/api/schedule/run", { body, headers }),
                    );
                    navigate(to.execution(reply.execution_id));
                  }}
                >
                  Run now
                </ActionButton>
              ),
          },
        ]}
      />
    </>
  );
}
