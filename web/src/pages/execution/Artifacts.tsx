import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { get } from "../../api/client";
import type { ArtifactView, ExecutionView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { ErrorNote } from "../../components/ErrorNote";
import { Icon } from "../../components/Icon";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { isShown, matchingFiles } from "../../domain/artifacts";
import { formatBytes } from "../../domain/duration";
import { hasEnded } from "../../domain/status";
import { to } from "../../router/router";
import { ArtifactFile, saveFile } from "./ArtifactFile";
import { saveAll, saveArtifact } from "./download";

const MAX_FILES = 200;
/** From this number of files on, they can be searched. */
const MIN_SEARCHED = 20;

/** The files of an artifact, which can be shown or saved each for itself. */
function Files({ artifact }: { artifact: ArtifactView }): JSX.Element {
  const [text, setText] = useState("");
  const [shown, setShown] = useState<string | null>(null);
  const files = matchingFiles(artifact.files, text);
  return (
    <>
      {artifact.files.length > MIN_SEARCHED && (
        <input
          type="search"
          aria-label="Part of a path"
          placeholder="Part of a path"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      )}
      <table class="files">
        <tbody>
          {files.slice(0, MAX_FILES).map((file) => (
            <tr key={file.path}>
              <td class="mono">
                {isShown(file) ? (
                  <button type="button" class="link" onClick={() => setShown(file.path)}>
                    {file.path}
                  </button>
                ) : (
                  file.path
                )}
              </td>
              <td class="number dim">{formatBytes(file.size)}</td>
              <td>
                <ActionButton kind="small" run={() => saveFile(artifact, file.path)}>
                  Save
                </ActionButton>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {files.length > MAX_FILES && <p class="dim">and {files.length - MAX_FILES} more</p>}
      {shown !== null && <ArtifactFile artifact={artifact} path={shown} onClose={() => setShown(null)} />}
    </>
  );
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
        <ActionButton kind="small" run={() => saveArtifact(artifact)}>
          <Icon name="download" />
          Download
        </ActionButton>
      </div>
      <details open={artifact.files.length <= 5}>
        <summary>
          {artifact.files.length} {artifact.files.length === 1 ? "file" : "files"}
        </summary>
        <Files artifact={artifact} />
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
    <>
      {value.artifacts.length > 1 && (
        <div class="actions">
          <ActionButton run={() => saveAll(id, value.artifacts)}>
            <Icon name="download" />
            Download all
          </ActionButton>
        </div>
      )}
      <ul class="artifacts">
        {value.artifacts.map((one) => (
          <Artifact key={one.id} artifact={one} executionId={id} />
        ))}
      </ul>
    </>
  );
}
