// Renders Markdown of jobs, which anyone may have written: the result has no scripts, styles, forms, images or names, and its
// links lead only to other sites. Loaded when it is needed.
import createPurifier, { type Config } from "dompurify";
import { Marked } from "marked";

/** How long a text may take to parse, in milliseconds. Some texts take time that grows with the square of their length. */
const MAX_PARSE_TIME = 500;

/** A text that took too long to parse. */
class TooSlow extends Error {}

let deadline = Number.POSITIVE_INFINITY;

/** Ends the parsing once its time is over. The parser asks at each place where emphasis, a link or text may begin. */
function checkTime(): false {
  if (performance.now() > deadline) throw new TooSlow();
  return false;
}

const marked = new Marked({ gfm: true });
marked.use({
  tokenizer: {
    blockquote: checkTime,
    list: checkTime,
    paragraph: checkTime,
    emStrong: checkTime,
    link: checkTime,
    inlineText: checkTime,
  },
  renderer: {
    // The policy of the page allows images of its own server only.
    image({ href, text, tokens }) {
      const label = tokens.length > 0 ? this.parser.parseInline(tokens, this.parser.textRenderer) : text;
      const link = document.createElement("a");
      link.href = href;
      link.textContent = label === "" ? href : label;
      return link.outerHTML;
    },
  },
});

const purifier = createPurifier(window);
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A" || !node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

const TAGS =
  "a b blockquote br caption code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i input ins kbd li mark ol p pre q s samp " +
  "small span strike strong sub summary sup table tbody td tfoot th thead tr u ul var";

const RULES: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["href", "title", "open", "start", "colspan", "rowspan", "align", "type", "checked"],
  // Relative addresses would lead to pages of this UI.
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  // Their values are no addresses.
  ADD_URI_SAFE_ATTR: ["align", "colspan", "rowspan", "start", "type"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Headings are below those of the page. */
const HEADING_OFFSET = 2;

function replace(node: Element, name: string): void {
  const other = document.createElement(name);
  other.append(...node.childNodes);
  node.replaceWith(other);
}

/** Returns the HTML of a text; nothing if it takes too long, or is nested too deeply to be parsed. */
function parse(text: string, maxTime: number): string | undefined {
  deadline = performance.now() + maxTime;
  try {
    return marked.parse(text, { async: false });
  } catch (error) {
    if (error instanceof TooSlow || error instanceof RangeError) return undefined;
    throw error;
  } finally {
    deadline = Number.POSITIVE_INFINITY;
  }
}

/** Returns a text as it was written. */
function plain(text: string): DocumentFragment {
  const content = document.createDocumentFragment();
  const box = document.createElement("pre");
  box.textContent = text;
  content.append(box);
  return content;
}

/**
 * Returns the sanitised content of a text in GitHub-flavoured Markdown, or the text as it was written if it cannot be parsed
 * in `maxTime` milliseconds.
 */
export function renderMarkdown(text: string, maxTime = MAX_PARSE_TIME): DocumentFragment {
  const html = parse(text, maxTime);
  if (html === undefined) return plain(text);
  const content = purifier.sanitize(html, RULES);
  for (const heading of content.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    replace(heading, `h${Math.min(Number(heading.tagName[1]) + HEADING_OFFSET, 6)}`);
  }
  // Tasks are shown and cannot be changed.
  for (const input of content.querySelectorAll("input")) {
    const isTask = input.getAttribute("type") === "checkbox";
    input.replaceWith(isTask ? (input.hasAttribute("checked") ? "☑ " : "☐ ") : "");
  }
  // Wide content scrolls by itself, with the keyboard, too.
  for (const wide of content.querySelectorAll("table, pre")) {
    const scroll = document.createElement("div");
    scroll.className = "markdown-scroll";
    scroll.tabIndex = 0;
    wide.replaceWith(scroll);
    scroll.append(wide);
  }
  return content;
}
