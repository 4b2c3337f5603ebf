import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { ExecutionView } from "../../api/types";
import { StatusIcon } from "../../components/StatusIcon";
import { Duration } from "../../components/Time";
import { criticalPath, type GraphEdge, type GraphNode, layOut } from "../../domain/graph";
import { byAttention, jobTone, toneText } from "../../domain/status";
import { to } from "../../router/router";

const [WIDTH, HEIGHT, GAP_X, GAP_Y, TOP] = [184, 40, 44, 12, 30];

const left = (column: number): number => column * (WIDTH + GAP_X);
const top = (row: number): number => TOP + row * (HEIGHT + GAP_Y);

function edgePath({ from, to: end }: GraphEdge): string {
  const [x1, y1] = [left(from.column) + WIDTH, top(from.row) + HEIGHT / 2];
  const [x2, y2] = [left(end.column), top(end.row) + HEIGHT / 2];
  // Long edges leave and arrive in the gaps beside the columns.
  const bend = GAP_X / 2 + 6;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function NodeBox({
  node,
  executionId,
  open,
  toggle,
}: {
  node: GraphNode;
  executionId: string;
  open: boolean;
  toggle: () => void;
}): JSX.Element {
  const { group } = node;
  const [job] = group.jobs;
  const place = {
    left: `${left(node.column)}px`,
    top: `${top(node.row)}px`,
    width: `${WIDTH}px`,
    height: `${HEIGHT}px`,
  };
  const style = `graph-node ${group.tone}${node.critical ? " critical" : ""}`;
  const done = group.jobs.filter((one) => one.status === "SUCCESS").length;
  if (group.jobs.length > 1) {
    return (
      <button
        type="button"
        class={`${style} folded`}
        style={place}
        aria-expanded={open}
        onClick={toggle}
        title={group.name}
      >
        <StatusIcon tone={group.tone} label />
        <span class="cut">{group.name}</span>
        <span class="number dim">
          {done}/{group.jobs.length}
        </span>
      </button>
    );
  }
  if (job === undefined) return <></>;
  return (
    <a class={style} style={place} href={to.job(executionId, job.job_name)} title={job.job_name}>
      <StatusIcon tone={group.tone} label />
      <span class="cut">{group.name}</span>
      <span class="dim">
        {job.start_time != null && <Duration start={job.start_time} end={job.end_time} />}
      </span>
    </a>
  );
}

/** Stages and needs; the variants of a matrix are one box, which opens below the graph. */
export function JobGraph({ view }: { view: ExecutionView }): JSX.Element {
  const [open, setOpen] = useState<string | null>(null);
  const graph = useMemo(() => layOut(view, criticalPath(view, Date.now())), [view]);
  const width = left(graph.columns) - GAP_X;
  const height = top(graph.rows) - GAP_Y + 4;
  const opened = graph.nodes.find((node) => node.group.id === open)?.group;
  return (
    <section class="card graph" aria-labelledby="graph-title">
      <div class="card-head">
        <h2 id="graph-title">Graph</h2>
        <span class="dim legend">
          <span class="critical-mark" aria-hidden="true" /> critical path
        </span>
      </div>
      <div class="graph-scroll" tabIndex={0} role="group" aria-label="Graph of stages and jobs">
        <div class="graph-canvas" style={{ width: `${width}px`, height: `${height}px` }}>
          <svg width={width} height={height} aria-hidden="true">
            {graph.nodes
              .filter((node) => node.waitsForStage)
              .map((node) => {
                const [x, y] = [left(node.column), top(node.row) + HEIGHT / 2];
                return (
                  <path key={node.group.id} class="edge stage" d={`M${x - GAP_X / 2} ${TOP}V${y}H${x}`} />
                );
              })}
            {[...graph.edges]
              .sort((a, b) => Number(a.critical) - Number(b.critical))
              .map((edge) => (
                <path
                  key={`${edge.from.group.id} ${edge.to.group.id}`}
                  class={edge.critical ? "edge critical" : "edge"}
                  d={edgePath(edge)}
                />
              ))}
          </svg>
          {graph.stages.map((stage) => (
            <span
              key={stage.stage}
              class="graph-stage cut"
              style={{ left: `${left(stage.first)}px`, width: `${left(stage.count) - GAP_X}px` }}
            >
              {stage.stage}
            </span>
          ))}
          {graph.nodes.map((node) => (
            <NodeBox
              key={node.group.id}
              node={node}
              executionId={view.execution.id}
              open={open === node.group.id}
              toggle={() => setOpen(open === node.group.id ? null : node.group.id)}
            />
          ))}
        </div>
      </div>
      {opened !== undefined && (
        <ul class="variants" aria-label={`Variants of ${opened.name}`}>
          {byAttention(opened.jobs).map((job) => (
            <li key={job.id}>
              <a href={to.job(view.execution.id, job.job_name)} title={toneText(jobTone(job))}>
                <StatusIcon tone={jobTone(job)} label />
                {job.job_name.slice(opened.name.length).trim()}
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
