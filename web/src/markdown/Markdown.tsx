import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Text in Markdown that a job wrote. It is shown as plain text until the renderer is loaded, and if it cannot be rendered. */
export function Markdown({ text }: { text: string }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [isRendered, setRendered] = useState(false);
  useEffect(() => {
    let isShown = true;
    setRendered(false);
    const render = async (): Promise<void> => {
      const { renderMarkdown } = await import("./render");
      if (!isShown) return;
      box.current?.replaceChildren(renderMarkdown(text));
      setRendered(true);
    };
    render().catch(() => setRendered(false));
    return () => {
      isShown = false;
    };
  }, [text]);
  return (
    <>
      {!isRendered && <pre tabIndex={0}>{text}</pre>}
      <div class="markdown" ref={box} hidden={!isRendered} />
    </>
  );
}
