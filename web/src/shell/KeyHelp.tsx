import type { JSX } from "preact";
import { Dialog } from "../components/Dialog";
import { helpOpen } from "./keys";

const KEYS: readonly (readonly [string, string])[] = [
  ["Ctrl K", "Go to a page, a repository or an execution"],
  ["j, k", "Next and previous execution"],
  ["Enter", "Open it"],
  ["/", "Search in the list"],
  ["?", "Show these keys"],
  ["Esc", "Close"],
];

export function KeyHelp(): JSX.Element | null {
  if (!helpOpen.value) return null;
  return (
    <Dialog label="Keys" onClose={() => (helpOpen.value = false)}>
      <h2>Keys</h2>
      <dl class="keys">
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => (helpOpen.value = false)}>
        Close
      </button>
    </Dialog>
  );
}
