// Keys of the log, while the focus is in it.

import type { LogOptions } from "./options";
import type { LogPane } from "./pane";
import { nextTimes } from "./options";

export interface KeyActions {
  readonly options: LogOptions;
  readonly setOptions: (options: LogOptions) => void;
  readonly openSearch: () => void;
  readonly closeSearch: () => void;
}

/** Handles a key; returns whether it has a meaning. */
export function handleKey(event: KeyboardEvent, pane: LogPane, actions: KeyActions): boolean {
  const { options } = actions;
  const isFind = event.key.toLowerCase() === "f" && (event.ctrlKey || event.metaKey) && !event.altKey;
  if (isFind) {
    actions.openSearch();
    return true;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isEditable(event.target)) return false;
  switch (event.key) {
    case "/":
      actions.openSearch();
      break;
    case "Escape":
      actions.closeSearch();
      break;
    case "n":
    case "N":
      pane.search.next(event.key === "n");
      break;
    case "e":
    case "E":
      void pane.search.nextError(event.key === "e", false);
      break;
    case "x":
      pane.showFailure();
      break;
    case "[":
    case "]":
      pane.showCommand(event.key === "]");
      break;
    case "g":
    case "Home":
      pane.toStart();
      break;
    case "G":
    case "End":
    case "f":
      pane.toEnd();
      break;
    case "w":
      actions.setOptions({ ...options, wraps: !options.wraps });
      break;
    case "t":
      actions.setOptions({ ...options, times: nextTimes(options.times) });
      break;
    case "l":
      actions.setOptions({ ...options, hasNumbers: !options.hasNumbers });
      break;
    case "-":
    case "+":
      pane.foldAll(event.key === "-");
      break;
    default:
      return false;
  }
  // The page has keys of its own.
  event.stopPropagation();
  return true;
}

function isEditable(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, select, textarea");
}
