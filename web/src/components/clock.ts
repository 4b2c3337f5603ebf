// One clock for all texts that age: it ticks once a second, and not while the tab is hidden.
import { signal } from "@preact/signals";

export const now = signal(Date.now());

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);
