// The title and the icon of the tab tell the state of what is shown.
import { effect, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import failed from "../design/icons/failed.svg";
import idle from "../design/icons/idle.svg";
import running from "../design/icons/running.svg";
import success from "../design/icons/success.svg";
import type { Tone } from "../domain/status";

export type TabState = "idle" | "running" | "success" | "failed";

const ICONS: Record<TabState, string> = { idle, running, success, failed };

const title = signal("");
const state = signal<TabState>("idle");

/** The state that the tab shows for something with this status. */
export function tabState(tone: Tone): TabState {
  if (tone === "success" || tone === "failed" || tone === "running") return tone;
  return tone === "tolerated" ? "success" : "idle";
}

export function useTitle(text: string, shown: TabState = "idle"): void {
  useEffect(() => {
    title.value = text;
    state.value = shown;
  }, [text, shown]);
}

export function applyTitle(): void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  effect(() => {
    document.title = title.value === "" ? "Tidemill" : `${title.value} · Tidemill`;
    icon?.setAttribute("href", ICONS[state.value]);
  });
}
