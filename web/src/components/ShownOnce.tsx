import type { ComponentChildren, JSX } from "preact";
import { ActionButton } from "./ActionButton";

/** A new secret value, which nobody can read again. */
export function ShownOnce({
  value,
  done,
  children,
}: {
  value: string;
  done: () => void;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <div class="note warning" role="status">
      {children}
      <p>
        <code class="wrapped">{value}</code>
      </p>
      <p class="actions">
        {window.isSecureContext && (
          <ActionButton kind="small" run={() => navigator.clipboard.writeText(value)}>
            Copy
          </ActionButton>
        )}
        <button type="button" class="small" onClick={done}>
          Done
        </button>
      </p>
    </div>
  );
}
