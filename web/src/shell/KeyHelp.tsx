import type { JSX } from "preact";
import { Dialog } from "../components/Dialog";
import { helpOpen } from "./keys";

type Keys = readonly (readonly [string, string])[];

const KEYS: Keys = [
  ["Ctrl K", "Go to a page, a repository or an execution"],
  ["j, k", "Next and previous execution"],
  ["Enter", "Open it"],
  ["/", "Search in the list"],
  [".", "The next failed job"],
  ["?", "Show these keys"],
  ["Esc", "Close"],
];

/** As in log/keys.ts. */
const LOG_KEYS: Keys = [
  ["/, Ctrl F", "Search in the log"],
  ["Esc", "End the search"],
  ["n, N", "Next and previous match"],
  ["e, E", "Next and previous error"],
  ["x", "The command that failed"],
  ["], [", "Next and previous command"],
  ["g, Home", "Start"],
  ["G, End, f", "End, and follow what is printed"],
  ["-, +", "Fold and unfold all"],
  ["w", "Wrap lines or not"],
  ["t", "Times: off, of the day, since the start"],
  ["l", "Line numbers or not"],
];

function KeyList({ keys }: { keys: Keys }): JSX.Element {
  return (
    <dl class="keys">
      {keys.map(([key, meaning]) => (
        <div key={key}>
          <dt>
            <kbd>{key}</kbd>
          </dt>
          <dd>{meaning}</dd>
        </div>
      ))}
    </dl>
  );
}

export function KeyHelp(): JSX.Element | null {
  if (!helpOpen.value) return null;
  return (
    <Dialog label="Keys" onClose={() => (helpOpen.value = false)}>
      <h2>Keys</h2>
      <KeyList keys={KEYS} />
      <h3>In a log</h3>
      <KeyList keys={LOG_KEYS} />
      <button type="button" onClick={() => (helpOpen.value = false)}>
        Close
      </button>
    </Dialog>
  );
}
