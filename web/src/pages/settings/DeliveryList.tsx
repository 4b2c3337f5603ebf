import type { JSX } from "preact";
import { get, post } from "../../api/client";
import { once } from "../../api/idempotency";
import type { DeliveryOutcome, DeliveryView } from "../../api/types";
import { ActionButton } from "../../components/ActionButton";
import { DataTable } from "../../components/DataTable";
import { ErrorNote } from "../../components/ErrorNote";
import { StatusIcon } from "../../components/StatusIcon";
import { Age } from "../../components/Time";
import { useLive } from "../../components/useLive";
import { formatBytes } from "../../domain/duration";
import type { Tone } from "../../domain/status";
import { to } from "../../router/router";
import { OfRepository } from "./OfRepository";

const OUTCOMES: Record<DeliveryOutcome, { tone: Tone; text: string }> = {
  started: { tone: "success", text: "started executions" },
  skipped: { tone: "skipped", text: "started nothing" },
  refused: { tone: "failed", text: "refused" },
  failed: { tone: "failed", text: "failed" },
};

function Outcome({ delivery }: { delivery: DeliveryView }): JSX.Element {
  const { tone, text } = OUTCOMES[delivery.outcome];
  return (
    <>
      <StatusIcon tone={tone} /> {text}
      <ul class="soft">
        {delivery.lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
        {(delivery.executions ?? []).map((id) => (
          <li key={id}>
            <a href={to.execution(id)}>execution that reads the pipeline files</a>
          </li>
        ))}
      </ul>
    </>
  );
}

function DeliveriesOf({ repo }: { repo: string }): JSX.Element {
  const { value, error, refresh } = useLive(repo, (signal) =>
    get("/api/repository/deliveries", { query: { repo }, signal }),
  );
  if (error !== null) return <ErrorNote error={error} retry={refresh} />;
  if (value === null) return <p class="dim">Loading…</p>;
  const { rejected } = value;
  return (
    <>
      {rejected.count > 0 && (
        <p class="note warning">
          {rejected.count} {rejected.count === 1 ? "delivery was" : "deliveries were"} rejected
          {rejected.last_at != null && (
            <>
              , the last <Age time={rejected.last_at} />
            </>
          )}
          {rejected.last_reason != null && `: ${rejected.last_reason}`}
        </p>
      )}
      <DataTable
        label="Webhook deliveries"
        rows={value.deliveries}
        rowKey={(one) => one.id}
        empty="No delivery with a valid signature came in the last 7 days."
        columns={[
          { name: "Received", cell: (one) => <Age time={one.received_at} /> },
          {
            name: "Event",
            cell: (one) => (
              <>
                <strong>
                  {[one.event ?? "unknown", one.action].filter((part) => part != null).join(" ")}
                </strong>
                {one.redelivery_of != null && <span class="dim"> again</span>}
              </>
            ),
          },
          { name: "Outcome", cell: (one) => <Outcome delivery={one} /> },
          { name: "Id at the provider", cell: (one) => <span class="mono">{one.delivery_id ?? ""}</span> },
          { name: "Size", cell: (one) => <span class="number">{formatBytes(one.bytes)}</span> },
          {
            name: "Change",
            cell: (one) =>
              one.can_redeliver && (
                <ActionButton
                  kind="small"
                  run={async () => {
                    const body = { repo, id: one.id };
                    await once({ redeliver: body }, (headers) =>
                      post("/api/repository/deliveries/redeliver", { body, headers }),
                    );
                    refresh();
                  }}
                >
                  Redeliver
                </ActionButton>
              ),
          },
        ]}
      />
    </>
  );
}

export const DeliveryList = (): JSX.Element => <OfRepository list={(repo) => <DeliveriesOf repo={repo} />} />;
