import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, apiUrl, post, send } from "../../api/client";
import type { ArtifactView } from "../../api/types";
import { Dialog } from "../../components/Dialog";
import { ErrorNote } from "../../components/ErrorNote";
import { asApiError } from "../../components/useLive";
import { fileAddress, fileKind, MAX_TEXT } from "../../domain/artifacts";
import "./artifacts.css";
import { saveReply } from "./download";

type Content =
  | { readonly kind: "page"; readonly address: string }
  | { readonly kind: "image"; readonly address: string }
  | { readonly kind: "text"; readonly text: string };

/** Saves one file of an artifact. */
export async function saveFile(artifact: ArtifactView, path: string): Promise<void> {
  await saveReply(
    await send(`${fileAddress(artifact.id, path)}&download=true`),
    path.split("/").pop() ?? "file",
  );
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(typeof reader.result === "string" ? reader.result : "");
    reader.onerror = () => reject(new Error("The image cannot be read."));
    reader.readAsDataURL(blob);
  });
}

async function load(artifact: ArtifactView, path: string, signal: AbortSignal): Promise<Content> {
  const kind = fileKind(path);
  if (kind === "page") {
    // A frame sends no token, so that its address has a ticket, which is valid for some minutes.
    const link = "/api/artifact/link/{artifactId}" as const;
    const { path: base } = await post(link, { path: { artifactId: artifact.id }, signal });
    return { kind, address: apiUrl(base + path.split("/").map(encodeURIComponent).join("/")) };
  }
  const reply = await send(fileAddress(artifact.id, path), { signal });
  if (kind === "image") return { kind, address: await dataUrl(await reply.blob()) };
  return { kind: "text", text: (await reply.text()).slice(0, MAX_TEXT) };
}

function Shown({ content, path }: { content: Content; path: string }): JSX.Element {
  switch (content.kind) {
    case "page":
      // Without `allow-same-origin`, its scripts reach neither this page nor the API.
      return <iframe sandbox="allow-scripts" src={content.address} title={path} />;
    case "image":
      return <img src={content.address} alt={path} />;
    case "text":
      return (
        <pre class="mono" tabIndex={0}>
          {content.text}
        </pre>
      );
  }
}

/** Shows one file of an artifact. */
export function ArtifactFile({
  artifact,
  path,
  onClose,
}: {
  artifact: ArtifactView;
  path: string;
  onClose: () => void;
}): JSX.Element {
  const [content, setContent] = useState<Content | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    load(artifact, path, stop.signal).then(setContent, (cause: unknown) => {
      if (!stop.signal.aborted) setError(asApiError(cause));
    });
    return () => stop.abort();
  }, [artifact, path]);
  return (
    <Dialog label={path} className="artifact-file" onClose={onClose}>
      <div class="artifact-file-head">
        <h2 class="mono">{path}</h2>
        <button type="button" class="small" onClick={onClose}>
          Close
        </button>
      </div>
      {error !== null && <ErrorNote error={error} />}
      {content === null && error === null && <p class="dim">Loading…</p>}
      {content !== null && <Shown content={content} path={path} />}
    </Dialog>
  );
}
