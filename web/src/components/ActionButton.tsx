import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { ApiError } from "../api/client";
import { ErrorNote } from "./ErrorNote";
import { asApiError } from "./useLive";

/** A button that changes something through the API, and shows what went wrong. With `confirm` it asks first. */
export function ActionButton({
  run,
  children,
  kind = "",
  confirm,
  title,
}: {
  run: () => Promise<void>;
  children: ComponentChildren;
  kind?: string;
  confirm?: string;
  title?: string;
}): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [asked, setAsked] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);

  const start = (): void => {
    if (confirm !== undefined && !asked) {
      setAsked(true);
      return;
    }
    setAsked(false);
    setBusy(true);
    setError(null);
    run()
      .catch((cause: unknown) => setError(asApiError(cause)))
      .finally(() => setBusy(false));
  };

  return (
    <>
      <button
        type="button"
        class={asked ? "danger" : kind}
        disabled={busy}
        title={title}
        onClick={start}
        onBlur={() => setAsked(false)}
      >
        {asked ? confirm : children}
      </button>
      {error !== null && (
        <div class="action-error">
          <ErrorNote error={error} />
        </div>
      )}
    </>
  );
}
