import { describe, expect, it } from "vitest";
import { plainText, safeHref, terminalLine } from "./line";
import { combine, cssColour, RESET, RGB, select, UNCHANGED, type Style } from "./style";
import { styleOf } from "./escape";

const ESC = "\x1b";

/** Spans as `[text, style]`, with the link if there is one. */
function shown(text: string, style: Style = UNCHANGED): unknown[] {
  return terminalLine(text, style).spans.map((span) =>
    span.href === null ? [span.text, span.style] : [span.text, span.style, span.href],
  );
}

describe("styles", () => {
  it("reads 16, 256 and 24-bit colours, in both forms", () => {
    expect(select("31;42")).toEqual({ foreground: 1, background: 2 });
    expect(select("91;107")).toEqual({ foreground: 9, background: 15 });
    expect(select("38;5;208;1")).toEqual({ foreground: 208, bold: true });
    expect(select("48;2;1;2;3;4")).toEqual({ background: RGB + 0x010203, underline: true });
    expect(select("38:2::10:20:30")).toEqual({ foreground: RGB + 0x0a141e });
    expect(select("38:2:10:20:30")).toEqual({ foreground: RGB + 0x0a141e });
    expect(select("38:5:9")).toEqual({ foreground: 9 });
  });

  it("sets and ends each attribute", () => {
    const all = select("1;2;3;4;7;9");
    expect(all).toEqual({
      bold: true,
      dim: true,
      italic: true,
      underline: true,
      inverse: true,
      strike: true,
    });
    const none = { bold: false, dim: false, italic: false, underline: false, inverse: false, strike: false };
    expect(combine(all, select("22;23;24;27;29"))).toEqual(none);
    expect(select("4:3")).toEqual({ underline: true });
    expect(combine(all, select("4:0")).underline).toBe(false);
    expect(combine(all, select(""))).toBe(RESET);
    expect(combine(select("31"), select("39;49"))).toEqual({ foreground: null, background: null });
  });

  it("ignores what is not valid, and goes on after it", () => {
    expect(select("38;5;999;31")).toEqual({ foreground: 1 });
    expect(select("38;2;1;2")).toEqual({});
    expect(select("999;NaN;-1;1e3")).toEqual({});
    expect(select("1;".repeat(100_000))).toEqual({ bold: true });
  });

  it("combines as one after the other would", () => {
    const text = `a${ESC}[1;31mb${ESC}[0mc${ESC}[4md`;
    for (let cut = 0; cut <= text.length; cut++) {
      const [first, second] = [styleOf(text.slice(0, cut)), styleOf(text.slice(cut))];
      if (first.rest !== "") continue;
      expect(combine(first.style, second.style)).toEqual(styleOf(text).style);
    }
  });

  it("gives colours of the palette in CSS", () => {
    expect([0, 15, 16, 196, 232, 255, RGB + 0xff8001].map((colour) => cssColour(colour))).toEqual([
      "var(--log-colour-0)",
      "var(--log-colour-15)",
      "rgb(0 0 0)",
      "rgb(255 0 0)",
      "rgb(8 8 8)",
      "rgb(238 238 238)",
      "rgb(255 128 1)",
    ]);
    expect(cssColour(9, "fill")).toBe("var(--log-fill-1)");
  });
});

describe("a line", () => {
  it("has its styles, beginning with that of the lines before", () => {
    const before: Style = { bold: true };
    const red: Style = { ...before, foreground: 1 };
    expect(shown(`plain ${ESC}[31mred${ESC}[m end`, before)).toEqual([
      ["plain ", before],
      ["red", red],
      [" end", RESET],
    ]);
    expect(shown("plain", before)).toEqual([["plain", before]]);
    expect(shown("")).toEqual([]);
  });

  it("is overwritten after a carriage return", () => {
    expect(plainText("10%\r20%\r100%")).toBe("100%");
    expect(plainText("long text\rab")).toBe("abng text");
    expect(plainText(`long text\r${ESC}[Kab`)).toBe("ab");
    expect(plainText("windows\r")).toBe("windows");
    expect(plainText(`text${ESC}[2K\rnew`)).toBe("new");
    expect(plainText(`abcd${ESC}[2D${ESC}[1Kx`)).toBe("  xd");
  });

  it("is changed by backspaces and movements of the cursor", () => {
    expect(plainText("abc\b\bX")).toBe("aXc");
    expect(plainText("\b\b\bab")).toBe("ab");
    expect(plainText(`ab${ESC}[3Cc`)).toBe("ab   c");
    expect(plainText(`abc${ESC}[1Gx`)).toBe("xbc");
    expect(plainText(`a${ESC}[1mb\tc`)).toBe("ab      c");
  });

  it("keeps characters outside of the first plane whole", () => {
    expect(plainText("😀😀\b🎉")).toBe("😀🎉");
    expect(plainText("grüße \x07✓")).toBe("grüße ✓");
  });

  it("shows nothing of other sequences", () => {
    for (const sequence of [
      `${ESC}(B`,
      `${ESC})0`,
      `${ESC}[?25l`,
      `${ESC}[2J`,
      `${ESC}[10;20H`,
      `${ESC}[3A`,
      `${ESC}[>4;1m`,
      `${ESC}[!p`,
      `${ESC}[1;2 q`,
      `${ESC}]0;title\x07`,
      `${ESC}]52;c;aGVsbG8=${ESC}\\`,
      `${ESC}]1337;File=inline=1:AAAA\x07`,
      `${ESC}P1$r0m${ESC}\\`,
      `${ESC}_Gf=100;AAAA${ESC}\\`,
      `${ESC}^private${ESC}\\`,
      `${ESC}7`,
      `${ESC}8`,
      `${ESC}=`,
      `${ESC}c`,
      `${ESC}%G`,
      "\x00",
      "\x07",
      "\x0e",
      "\x7f",
      "\x85",
      "\x9b",
    ])
      expect(plainText(`a${sequence}b`), JSON.stringify(sequence)).toBe("ab");
  });

  it("survives unfinished and endless sequences without losing text", () => {
    expect(plainText(`a${ESC}`)).toBe("a");
    expect(plainText(`a${ESC}[`)).toBe("a");
    expect(plainText(`a${ESC}[31`)).toBe("a");
    expect(plainText(`a${ESC}[31é`)).toBe("aé");
    expect(plainText(`a${ESC}]0;never ends`)).toBe("a0;never ends");
    expect(plainText(`a${ESC}Pnever ends`)).toBe("anever ends");
    expect(plainText(`a${ESC}[${"1;".repeat(5000)}mb`).endsWith("mb")).toBe(true);
    expect(plainText(`${ESC}[999999999999Cx`).length).toBeLessThan(3000);
    expect(plainText(`${ESC}[-5Gx`)).toBe("5Gx");
  });

  it("never makes markup", () => {
    const hostile = `<img src=x onerror=alert(1)>${ESC}[31m"><script>&lt;`;
    expect(shown(hostile)).toEqual([
      ["<img src=x onerror=alert(1)>", UNCHANGED],
      ['"><script>&lt;', { foreground: 1 }],
    ]);
  });

  it("has a bounded number of spans", () => {
    let text = "";
    for (let at = 0; at < 10_000; at++) text += `${ESC}[38;5;${at % 256}mx`;
    const line = terminalLine(text);
    expect(line.spans.length).toBeLessThanOrEqual(2001);
    expect(line.text).toBe("x".repeat(10_000));
  });
});

describe("links", () => {
  const link = (address: string): string => `${ESC}]8;;${address}${ESC}\\here${ESC}]8;;${ESC}\\ after`;

  it("are links to the web", () => {
    expect(shown(link("https://example.com/a?b=1"))).toEqual([
      ["here", UNCHANGED, "https://example.com/a?b=1"],
      [" after", UNCHANGED],
    ]);
    expect(shown(`${ESC}]8;id=1;http://example.com\x07x${ESC}]8;;\x07`)).toEqual([
      ["x", UNCHANGED, "http://example.com/"],
    ]);
  });

  it("are text if they are not safe", () => {
    for (const address of [
      "javascript:alert(1)",
      " javascript:alert(1)",
      "JaVaScRiPt://example.com/%0aalert(1)",
      "data:text/html,<script>alert(1)</script>",
      "file:///etc/passwd",
      "//example.com",
      "/api/tokens",
      "https://",
      "https://github.com@evil.example/",
      "https://user:password@example.com/",
      `https://example.com/${"a".repeat(3000)}`,
    ]) {
      expect(safeHref(address), address).toBeNull();
      expect(shown(link(address)), address).toEqual([["here after", UNCHANGED]]);
    }
  });
});
