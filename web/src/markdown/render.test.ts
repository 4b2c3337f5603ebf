// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { renderMarkdown } from "./render";

function html(text: string): string {
  const box = document.createElement("div");
  box.append(renderMarkdown(text));
  return box.innerHTML.trim();
}

describe("Markdown", () => {
  test("GitHub-flavoured text is rendered", () => {
    expect(html("# Title")).toBe("<h3>Title</h3>");
    expect(html("##### Low")).toBe("<h6>Low</h6>");
    expect(html("**a** ~~b~~ `c <d>`")).toBe(
      "<p><strong>a</strong> <del>b</del> <code>c &lt;d&gt;</code></p>",
    );
    const table = html("| a | b |\n|---|:-:|\n| 1 | 2 |");
    expect(table).toMatch(/^<div class="markdown-scroll" tabindex="0"><table>/);
    expect(table).toContain('<td align="center">2</td>');
    const tasks = html("- [x] done\n- [ ] open");
    expect(tasks).toContain("☑");
    expect(tasks).toContain("☐");
    expect(tasks).not.toContain("<input");
    expect(html("<details open><summary>More</summary>\n\ntext\n\n</details>")).toContain(
      '<details open=""><summary>More</summary>',
    );
    expect(html("```rust\nfn main() {}\n```")).toContain("<pre><code>fn main() {}\n</code></pre>");
  });

  test("links lead to other sites and tell them nothing", () => {
    const link = '<a href="https://example.org/a" target="_blank" rel="noopener noreferrer nofollow">x</a>';
    expect(html("[x](https://example.org/a)")).toBe(`<p>${link}</p>`);
    expect(html("[x](mailto:a@example.org)")).toContain('href="mailto:a@example.org"');
    for (const address of [
      "docs/a.md",
      "/settings",
      "//example.org/a",
      "#title",
      "?view=x",
      "ftp://example.org",
    ]) {
      expect(html(`[x](${address})`), address).not.toContain("href");
    }
  });

  test("images are links", () => {
    expect(html("![a *chart*](https://example.org/a.png)")).toContain('<a href="https://example.org/a.png"');
    expect(html("![a](https://example.org/a.png)")).not.toContain("<img");
    expect(html("![a](data:image/png;base64,AAAA)")).not.toMatch(/href|data:/);
    expect(html('![<img src=x onerror="x()">](https://example.org/a.png)')).not.toContain("<img");
  });

  test.each([
    "<img src=x onerror=alert(1)>",
    "<IMG SRC=javascript:alert(1)>",
    '<svg onload="alert(1)"><script>alert(1)</script></svg>',
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</script>",
    "<iframe src=https://example.org></iframe>",
    "<object data=x></object><embed src=x>",
    "<form action=https://example.org><input name=a><button>Sign in</button></form>",
    "<style>*{display:none}</style>",
    '<p style="position:fixed" class="card" id="main" onclick="alert(1)">x</p>',
    "<meta http-equiv=refresh content=0><link rel=stylesheet href=x><base href=https://example.org>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    '<a href="javascript:alert(1)">x</a>',
    '<a href=" &#14; javascript:alert(1)">x</a>',
    '<a href="https://example.org" onmouseover="alert(1)">x</a>',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
    "<details ontoggle=alert(1) open>x</details>",
    "`<img src=x onerror=alert(1)>`".replaceAll("`", "\n"),
    "<video src=x onerror=alert(1)></video><audio src=x></audio>",
    '<a name="body">x</a><p id="location"></p>',
    "<template><img src=x onerror=alert(1)></template>",
    "<!--><img src=x onerror=alert(1)>-->",
  ])("nothing of %s runs or loads", (text) => {
    const box = document.createElement("div");
    box.append(renderMarkdown(text));
    const allowed = /^(href|title|open|start|colspan|rowspan|align|target|rel|class|tabindex)$/;
    for (const node of box.querySelectorAll("*")) {
      expect(node.tagName).not.toMatch(
        /^(IMG|SVG|SCRIPT|IFRAME|OBJECT|EMBED|FORM|INPUT|BUTTON|STYLE|META|LINK|BASE|VIDEO|AUDIO|TEMPLATE|MATH|NOSCRIPT)$/i,
      );
      for (const { name, value } of node.attributes) {
        expect(name).toMatch(allowed);
        if (name === "class") expect(value).toBe("markdown-scroll");
        if (name === "href") expect(value).toMatch(/^(https?:\/\/|mailto:)/);
      }
    }
  });

  test("nested and large text ends", () => {
    const cells = `${"| a ".repeat(60)}|\n${"|---".repeat(60)}|\n${`${"| 1 ".repeat(60)}|\n`.repeat(40)}`;
    expect(html(cells).split("<td>").length).toBe(60 * 40 + 1);
    expect(html(`${"<b>".repeat(500)}x`)).toContain("x");
    expect(html("- ".repeat(60) + "x")).toContain("x");
  });

  test("a text that takes too long is shown as it was written", () => {
    // The time is over at the first place where it is looked at.
    const text = "**a".repeat(10);
    const box = document.createElement("div");
    box.append(renderMarkdown(text, -1));
    expect(box.innerHTML).toBe(`<pre>${text}</pre>`);
    expect(html("**a**")).toBe("<p><strong>a</strong></p>");
  });

  test("a text that is nested deeply is shown", () => {
    const text = ">".repeat(200_000);
    const box = document.createElement("div");
    box.append(renderMarkdown(text));
    expect(box.textContent).not.toBe("");
  });
});
