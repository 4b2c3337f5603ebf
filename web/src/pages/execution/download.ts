// Saves what the API replies: the token is in a header, which a link cannot send.
import { ApiError, send } from "../../api/client";
import type { ArtifactAddress, ArtifactView } from "../../api/types";

/** Saves the bytes of a reply under a name. */
export async function saveReply(reply: Response, name: string): Promise<void> {
  const anchor = document.createElement("a");
  const address = URL.createObjectURL(await reply.blob());
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * Saves the stored archive. The server has its bytes, or it knows their address at the object store, where a page may go
 * but not read.
 */
export async function saveArtifact(artifact: ArtifactView): Promise<void> {
  const reply = await send(`/api/artifact/download/${artifact.id}?redirect=false`);
  if (reply.headers.get("content-type")?.startsWith("application/json") === true) {
    const anchor = document.createElement("a");
    anchor.rel = "noopener noreferrer";
    anchor.href = ((await reply.json()) as ArtifactAddress).url;
    anchor.click();
    return;
  }
  const ending = artifact.encoding === "identity" ? "tar" : "tar.zst";
  const name = (artifact.name ?? artifact.job_name).replace(/[^\w.-]+/g, "-");
  await saveReply(reply, `${name}.${ending}`);
}

/** Saves all artifacts of an execution: as one archive, or where the server has none, each for itself. */
export async function saveAll(executionId: string, artifacts: readonly ArtifactView[]): Promise<void> {
  try {
    await saveReply(
      await send(`/api/artifact/archive/${executionId}`),
      `artifacts-${executionId.slice(0, 8)}.tar`,
    );
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 501) throw error;
    for (const artifact of artifacts) await saveArtifact(artifact);
  }
}
