import type { JSX } from "preact";
import { get, send } from "../../api/client";
import type { ArtifactAddress, ArtifactView, ExecutionView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { ErrorNote } from "../../components/ErrorNote";
import { Icon } from "../../components/Icon";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { formatBytes } from "../../domain/duration";
import { hasEnded } from "../../domain/status";
import { to } from "../../router/router";

const MAX_FILES = 200;

/**
 * Saves the stored archive. The server has its bytes, which are loaded with the token, as a link has none; or it knows
 * their address at the object store, where a page may go but not read.
 */
async function download(artifact: ArtifactView): Promise<void> {
  const reply = await send(`/api/artifact/download/${artifact.id}?redirect=false`);
  const anchor = document.createElement("a");
  anchor.rel = "noopener noreferrer";
  if (reply.headers.get("content-type")?.startsWith("application/json") === true) {
    anchor.href = ((await reply.json()) as ArtifactAddress).url;
    anchor.click();
    return;
  }
  const address = URL.createObjectURL(await reply.blob());
  anchor.href = address;
  const ending = artifact.encoding === "identity" ? "tar" : "tar.zst";
  anchor.download = `${(artifact.name ?? artifact.job_name).replace(/[^\w.-]+/g, "-")}.${ending}`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function Artifact({ artifact, executionId }: { artifact: ArtifactView; executionId: string }): JSX.Element {
  const title = artifact.expose_as ?? artifact.name ?? artifact.file_path;
  return (
    <li class="card padded artifact">
      <div class="artifact-head">
        <h2>{title}</h2>
        <span class="dim">
          <a href={to.job(executionId, artifact.job_name)}>{artifact.job_name}</a> ·{" "}
          <span class="number">{formatBytes(artifact.size)}</span> · <Age time={artifact.uploaded_at} />
          {artifact.expires_at != null && (
            <>
              {" "}
              · expires <Age time={artifact.expires_at} />
            </>
          )}
        </span>
        <ActionButton kind="small" run={() => download(artifact)}>
          <Icon name="download" />
          Download
        </ActionButton>
      </div>
      <details open={artifact.files.length <= 5}>
        <summary>
          {artifact.files.length} {artifact.files.length === 1 ? "file" : "files"}
        </summary>
        <table class="files">
          <tbody>
            {artifact.files.slice(0, MAX_FILES).map((file) => (
              <tr key={file.path}>
                <td class="mono">{file.path}</td>
                <td class="number dim">{formatBytes(file.size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {artifact.files.length > MAX_FILES && <p class="dim">and {artifact.files.length - MAX_FILES} more</p>}
      </details>
    </li>
  );
}

/** What the jobs uploaded. */
export function Artifacts({ view }: { view: ExecutionView }): JSX.Element {
  const { id, status } = view.execution;
  const path = "/api/artifact/list/{executionId}" as const;
  const { value, error } = useLive(
    `${id} ${status}`,
    (signal) => get(path, { path: { executionId: id }, signal }),
    () => hasEnded(status),
  );
  if (error !== null) return <ErrorNote error={error} />;
  if (value === null) return <p class="dim">Loading…</p>;
  if (value.artifacts.length === 0) return <p class="empty">No job uploaded artifacts.</p>;
  return (
    <ul class="artifacts">
      {value.artifacts.map((one) => (
        <Artifact key={one.id} artifact={one} executionId={id} />
      ))}
    </ul>
  );
}
