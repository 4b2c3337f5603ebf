// What uses the disk of the server: by kind, and by repository.
import type { JSX } from "preact";
import { get } from "../../api/client";
import type { DiskUsage } from "../../api/types";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { diskParts, usedText } from "../../domain/disk";
import { formatBytes, formatCount } from "../../domain/duration";
import { shortRepo } from "../../domain/names";
import { to } from "../../router/router";
import "./disk.css";

function DiskBar({ usage, refresh }: { usage: DiskUsage; refresh: () => void }): JSX.Element {
  const parts = diskParts(usage);
  return (
    <section class="card padded disk-use" aria-label="Use by kind">
      <p>
        <strong>{usedText(parts)}</strong> used by Tidemill, {formatBytes(usage.free_bytes)} free.{" "}
        {usage.measured_at != null && (
          <span class="soft">
            Measured <Age time={usage.measured_at} />, at most once a minute.{" "}
            <button type="button" class="link" onClick={refresh}>
              Measure again
            </button>
          </span>
        )}
      </p>
      <div class="disk-bar" aria-hidden="true">
        {parts.map(({ kind, percent }) => (
          <span key={kind} class={kind} style={{ flexGrow: percent }} />
        ))}
      </div>
      <dl class="disk-parts">
        {parts.map(({ name, kind, bytes }) => (
          <div key={kind}>
            <dt>
              <span class={`disk-key ${kind}`} aria-hidden="true" />
              {name}
            </dt>
            <dd class="number">{formatBytes(bytes)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

const bytes = (value: number): JSX.Element => <span class="number">{formatBytes(value)}</span>;

function RepositoryUse({ usage }: { usage: DiskUsage }): JSX.Element {
  return (
    <section aria-labelledby="by-repository">
      <h2 id="by-repository">By repository</h2>
      <DataTable
        label="Use by repository"
        rows={usage.repositories}
        rowKey={(one) => one.repo}
        empty="No repository has an execution."
        columns={[
          {
            name: "Repository",
            cell: (one) => (
              <a href={to.executions({ repo: one.repo })} title={one.repo}>
                <strong>{shortRepo(one.repo)}</strong>
              </a>
            ),
          },
          { name: "Executions", cell: (one) => <span class="number">{formatCount(one.executions)}</span> },
          { name: "Logs", cell: (one) => bytes(one.log_bytes) },
          { name: "Artifacts", cell: (one) => bytes(one.artifact_bytes) },
          { name: "Caches", cell: (one) => bytes(one.cache_bytes) },
          { name: "Total", cell: (one) => bytes(one.log_bytes + one.artifact_bytes + one.cache_bytes) },
        ]}
      />
      <p class="soft">
        {usage.unlisted_repositories > 0 &&
          `${formatCount(usage.unlisted_repositories)} more use less than these. `}
        Files of the same content are stored once, and count here for each repository that has them.{" "}
        <code>tidemill retention set</code> says how long they are kept, and{" "}
        <code>tidemill gc --dry-run</code> what would go.
      </p>
    </section>
  );
}

export function DiskUse(): JSX.Element {
  // The server counts its files for each measurement: once is enough until the viewer asks again.
  const { value, error, refresh } = useLive(
    "disk",
    (signal) => get("/api/retention/usage", { signal }),
    () => true,
  );
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  if (value.measured_at == null)
    return (
      <p class="empty">
        This deployment does not measure what it stores. On AWS, the metrics of the bucket and of the tables
        show it.
      </p>
    );
  return (
    <>
      {value.partial && (
        <p class="note warning">There are too many files to count all of them: these are the least.</p>
      )}
      <DiskBar usage={value} refresh={refresh} />
      <RepositoryUse usage={value} />
    </>
  );
}
