// Keys that work on every page. Pages add their own.
import { signal } from "@preact/signals";
import { paletteOpen } from "./CommandPalette";

export const helpOpen = signal(false);

type Action = () => void;
const pageKeys = new Map<string, Action>();

/** Sets what a key does while the page is shown; the returned function ends that. */
export function onKey(key: string, action: Action): () => void {
  pageKeys.set(key, action);
  return () => {
    if (pageKeys.get(key) === action) pageKeys.delete(key);
  };
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName))
  );
}

function press(event: KeyboardEvent): void {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    paletteOpen.value = !paletteOpen.value;
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]") !== null) return;
  if (event.key === "?") helpOpen.value = true;
  else {
    const action = pageKeys.get(event.key);
    if (action === undefined) return;
    event.preventDefault();
    action();
  }
}

export function installKeys(): () => void {
  addEventListener("keydown", press);
  return () => removeEventListener("keydown", press);
}
