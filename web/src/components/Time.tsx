import type { JSX } from "preact";
import { formatAge, formatDuration, formatTime } from "../domain/duration";
import { now } from "./clock";

/** How long ago something was; the exact time is its title, which is written when the pointer comes. */
export function Age({ time }: { time: string }): JSX.Element {
  return (
    <time
      dateTime={time}
      onPointerEnter={(event) => {
        event.currentTarget.title = formatTime(time);
      }}
    >
      {formatAge(Date.parse(time), now.value)}
    </time>
  );
}

/** A duration; without an end it goes on. */
export function Duration({ start, end }: { start: string; end: string | null | undefined }): JSX.Element {
  const until = end == null ? now.value : Date.parse(end);
  return <time class="number">{formatDuration(until - Date.parse(start))}</time>;
}
