import type { JSX } from "preact";
import { get } from "../../api/client";
import type { ExcludedJobList, PipelineFileView } from "../../api/types";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { useLive } from "../../components/useLive";
import { includeText } from "../../domain/names";

const always = (): boolean => true;

function ExcludedJobs({ list }: { list: ExcludedJobList }): JSX.Element {
  const more = list.total - list.jobs.length;
  return (
    <section aria-labelledby="excluded-jobs">
      <h2 id="excluded-jobs">Jobs left out</h2>
      <DataTable
        label="Jobs left out"
        rows={list.jobs}
        rowKey={(job) => job.job_name}
        empty="All jobs of the file take part in this execution."
        columns={[
          { name: "Job", cell: (job) => <strong>{job.job_name}</strong> },
          { name: "Reason", cell: (job) => job.reason },
        ]}
      />
      {more > 0 && <p class="dim">and {more} more</p>}
    </section>
  );
}

function Variables({ variables }: { variables: NonNullable<PipelineFileView["variables"]> }): JSX.Element {
  return (
    <section aria-labelledby="variables">
      <h2 id="variables">Variables</h2>
      <DataTable
        label="Variables"
        rows={variables}
        rowKey={(one) => one.name}
        empty="The execution got no variables besides those of its file."
        columns={[
          { name: "Name", cell: (one) => <strong class="mono">{one.name}</strong> },
          {
            name: "Value",
            cell: (one) =>
              one.value == null ? <span class="dim">hidden</span> : <span class="mono">{one.value}</span>,
          },
          {
            name: "From",
            cell: (one) => (one.source === "repository" ? "the repository" : "who started the execution"),
          },
        ]}
      />
    </section>
  );
}

function File({ file }: { file: PipelineFileView }): JSX.Element {
  const includes = file.includes ?? [];
  const lines = file.content.replace(/\n$/, "").split("\n");
  return (
    <section class="card" aria-labelledby="pipeline-file">
      <div class="card-head">
        <h2 id="pipeline-file">{file.path ?? "Pipeline file"}</h2>
        <span class="dim">as it was when the execution was planned</span>
      </div>
      {includes.length > 0 && (
        <ul class="facts padded" aria-label="Included files">
          {includes.map((one) => (
            <li key={includeText(one)} class="mono">
              {includeText(one)}
            </li>
          ))}
        </ul>
      )}
      <pre class="source" tabIndex={0} aria-label="Text of the pipeline file">
        {lines.map((line, at) => (
          <span key={at}>{line + "\n"}</span>
        ))}
      </pre>
    </section>
  );
}

/** What the execution was planned from: its pipeline file with the variables, and the jobs that rules left out. */
export function PipelineSource({ id }: { id: string }): JSX.Element {
  const names = { executionId: id };
  const file = useLive(
    id,
    (signal) => get("/api/pipeline/file/{executionId}", { path: names, signal }),
    always,
  );
  const excluded = useLive(
    id,
    (signal) => get("/api/pipeline/excluded/{executionId}", { path: names, signal }),
    always,
  );
  return (
    <>
      {excluded.error !== null && <ErrorNote error={excluded.error} retry={excluded.refresh} />}
      {excluded.value !== null && <ExcludedJobs list={excluded.value} />}
      {file.error !== null && <ErrorNote error={file.error} retry={file.refresh} />}
      {file.value === null && file.error === null && <p class="dim">Loading…</p>}
      {file.value !== null && (
        <>
          <Variables variables={file.value.variables ?? []} />
          <File file={file.value} />
        </>
      )}
    </>
  );
}
