import type { JSX } from "preact";
import { type Tone, toneText } from "../domain/status";

// Each status has a shape of its own, so that its colour is not all that shows it.
const SHAPES: Record<Tone, JSX.Element> = {
  success: (
    <>
      <circle cx="8" cy="8" r="7" class="fill" />
      <path d="M4.8 8.3l2.2 2.2 4.2-4.6" class="mark" />
    </>
  ),
  failed: (
    <>
      <circle cx="8" cy="8" r="7" class="fill" />
      <path d="M5.5 5.5l5 5m0-5l-5 5" class="mark" />
    </>
  ),
  tolerated: (
    <>
      <path d="M8 1.4l7 12.6H1z" class="fill" />
      <path d="M8 6v3.6m0 2v.2" class="mark" />
    </>
  ),
  canceled: (
    <>
      <circle cx="8" cy="8" r="6.2" class="ring" />
      <path d="M3.8 12.2l8.4-8.4" class="ring" />
    </>
  ),
  skipped: (
    <>
      <circle cx="8" cy="8" r="6.2" class="ring" />
      <path d="M5 8h6" class="ring" />
    </>
  ),
  running: (
    <>
      <circle cx="8" cy="8" r="6.2" class="ring faint" />
      <path d="M8 1.8a6.2 6.2 0 0 1 6.2 6.2" class="ring turning" />
    </>
  ),
  queued: <circle cx="8" cy="8" r="6.2" class="ring dashed" />,
  approval: (
    <>
      <circle cx="8" cy="8" r="6.2" class="ring" />
      <path d="M6.3 5.4v5.2m3.4-5.2v5.2" class="ring" />
    </>
  ),
  pending: <circle cx="8" cy="8" r="6.2" class="ring" />,
};

/** The icon of a status. Without `label` the text beside it says the same. */
export function StatusIcon({ tone, label = false }: { tone: Tone; label?: boolean }): JSX.Element {
  const named = label
    ? ({ role: "img", "aria-label": toneText(tone) } as const)
    : ({ "aria-hidden": true } as const);
  return (
    <svg class={`status-icon ${tone}`} viewBox="0 0 16 16" {...named}>
      {SHAPES[tone]}
    </svg>
  );
}

export function StatusBadge({ tone }: { tone: Tone }): JSX.Element {
  return (
    <span class={`status-badge ${tone}`}>
      <StatusIcon tone={tone} /> {toneText(tone)}
    </span>
  );
}
