import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface Rows {
  readonly first: number;
  readonly end: number;
}

const SPARE = 12;

/** The rows of a long list that are on the screen, for a list that scrolls with the page and has rows of one height. */
export function visibleRows(count: number, rowHeight: number, listTop: number, windowHeight: number): Rows {
  const first = Math.max(0, Math.floor(-listTop / rowHeight) - SPARE);
  const end = Math.min(count, Math.ceil((windowHeight - listTop) / rowHeight) + SPARE);
  return { first: Math.min(first, count), end: Math.max(end, Math.min(first, count)) };
}

export function useWindowRows(list: RefObject<HTMLElement | null>, count: number, rowHeight: number): Rows {
  const [rows, setRows] = useState<Rows>({ first: 0, end: Math.min(count, 2 * SPARE) });
  useEffect(() => {
    let frame = 0;
    const measure = (): void => {
      frame = 0;
      if (list.current === null) return;
      const next = visibleRows(count, rowHeight, list.current.getBoundingClientRect().top, innerHeight);
      setRows((old) => (old.first === next.first && old.end === next.end ? old : next));
    };
    const later = (): void => {
      if (frame === 0) frame = requestAnimationFrame(measure);
    };
    measure();
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later);
      removeEventListener("resize", later);
    };
  }, [list, count, rowHeight]);
  return rows;
}
