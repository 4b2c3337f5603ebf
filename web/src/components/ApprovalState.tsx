import type { JSX } from "preact";
import type { ApprovalProgress } from "../api/types";
import { missingText } from "../domain/approvals";
import { Age } from "./Time";

/** Who approved a job, and what its environment still requires. */
export function ApprovalState({ progress }: { progress: ApprovalProgress }): JSX.Element {
  const missing = (progress.required ?? []).filter((rule) => rule.missing > 0);
  return (
    <ul class="facts" aria-label="Approvals">
      {(progress.given ?? []).map((one) => (
        <li key={`${one.name} ${one.at}`}>
          approved by {one.name}{" "}
          <span class="dim">
            <Age time={one.at} />
          </span>
        </li>
      ))}
      {missing.map((rule) => (
        <li key={rule.environment} class="soft">
          {missingText(rule)}
        </li>
      ))}
    </ul>
  );
}
