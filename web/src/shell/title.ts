// The title and the icon of the tab tell the state of what is shown.
import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

export type TabState = "idle" | "running" | "success" | "failed";

const title = signal("");
const state = signal<TabState>("idle");

export function useTitle(text: string, tabState: TabState = "idle"): void {
  useEffect(() => {
    title.value = text;
    state.value = tabState;
  }, [text, tabState]);
}

export function applyTitle(): void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  effect(() => {
    document.title = title.value === "" ? "Tidemill" : `${title.value} · Tidemill`;
    icon?.setAttribute("href", `./icons/${state.value}.svg`);
  });
}
