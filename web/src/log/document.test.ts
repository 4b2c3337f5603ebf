import { describe, expect, it } from "vitest";
import { BLOCK } from "./block";
import { LogDocument, MAX_LINE, type LineRef } from "./document";
import { Matcher, Search, type Blocks } from "./search";
import { Rows } from "./rows";
import { findSections } from "./sections";

const utf8 = new TextEncoder();

/** A log of numbered lines, longer than three blocks, with multi-byte characters. */
function numbered(lines: number): string {
  return Array.from({ length: lines }, (_, at) => `Zeile ${at + 1}: grüße 😀 ${"x".repeat(at % 90)}\n`).join(
    "",
  );
}

function putAll(document: LogDocument, bytes: Uint8Array, order?: number[]): void {
  const blocks = Array.from({ length: Math.ceil(bytes.length / BLOCK) }, (_, at) => at);
  document.grow(bytes.length);
  for (const block of order ?? blocks) document.put(block, bytes.slice(block * BLOCK, (block + 1) * BLOCK));
}

function textOf(document: LogDocument, ref: LineRef): string | undefined {
  return document.line(ref)?.text;
}

describe("a document", () => {
  const text = numbered(12_000);
  const bytes = utf8.encode(text);
  const lines = text.split("\n").slice(0, -1);

  it("is the same for any order of its blocks", () => {
    expect(bytes.length).toBeGreaterThan(3 * BLOCK);
    for (const order of [undefined, [3, 1, 0, 2], [2, 3, 0, 1], [3, 2, 1, 0]]) {
      const document = new LogDocument();
      putAll(document, bytes, order);
      expect(document.lineCount).toBe(lines.length);
      for (let at = 0; at < lines.length; at += 97) {
        const ref = document.lineAt(at);
        expect(textOf(document, ref)).toBe(lines[at]);
        expect(document.numberOf(ref)).toBe(at + 1);
        expect(document.lineWithNumber(at + 1)).toEqual(ref);
        const offset = document.offsetOf(ref) ?? -1;
        expect(document.lineContaining(offset)).toEqual(ref);
        expect(document.lineContaining(offset + 3)).toEqual(ref);
      }
    }
  });

  it("is the same for any sizes of appended parts", () => {
    for (const size of [1000, 65_537, BLOCK, 1_000_003]) {
      const document = new LogDocument();
      let offset = 0;
      for (let at = 0; at < bytes.length; at += size)
        offset = document.append(offset, bytes.slice(at, at + size));
      expect(offset).toBe(bytes.length);
      expect(document.lineCount).toBe(lines.length);
      for (const at of [0, 1, 5000, lines.length - 1])
        expect(textOf(document, document.lineAt(at))).toBe(lines[at]);
    }
  });

  it("shows characters that a part of the log cuts", () => {
    const document = new LogDocument();
    const emoji = utf8.encode("a😀b\n");
    let offset = 0;
    for (const byte of emoji) offset = document.append(offset, Uint8Array.of(byte));
    expect(textOf(document, { block: 0, line: 0 })).toBe("a😀b");
    document.append(offset, Uint8Array.of(0xff, 0x41, 0x0a));
    expect(textOf(document, { block: 0, line: 1 })).toBe("\ufffdA");
  });

  it("has no line after the last newline, wherever that is", () => {
    for (const length of [1, 10, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK]) {
      const document = new LogDocument();
      document.append(0, utf8.encode(`${"x".repeat(length - 1)}\n`));
      expect(document.lineCount, String(length)).toBe(1);
      document.append(length, utf8.encode("y"));
      expect(document.lineCount).toBe(2);
      expect(textOf(document, document.lineAt(1))).toBe("y");
      document.append(length + 1, utf8.encode("z\n\n"));
      expect(document.lineCount).toBe(3);
      expect(textOf(document, document.lineAt(1))).toBe("yz");
      expect(textOf(document, document.lineAt(2))).toBe("");
    }
  });

  it("shows the beginning of a long line, and says how much is left out", () => {
    const document = new LogDocument();
    document.append(0, utf8.encode(`${"é".repeat(BLOCK)}\nnext\n`));
    const line = document.line({ block: 0, line: 0 });
    expect(line?.text).toBe("é".repeat(MAX_LINE / 2));
    expect(line?.leftOut).toBe(2 * BLOCK - MAX_LINE);
    expect(textOf(document, document.lineAt(1))).toBe("next");
  });

  it("shows the last state of progress that overwrites itself", () => {
    const document = new LogDocument();
    let progress = "";
    for (let at = 0; at <= 100_000; at++) progress += `${at} of 100000\r`;
    document.append(0, utf8.encode(`${progress}\nnext\n`));
    expect(textOf(document, { block: 0, line: 0 })).toBe("100000 of 100000");
  });

  it("knows numbers only of lines before which all is known", () => {
    const document = new LogDocument();
    putAll(document, bytes, [3]);
    expect(document.numberOf({ block: 3, line: 0 })).toBeNull();
    expect(document.gaps()).toEqual([{ from: 0, to: 3 }]);
    expect(document.lineAt(0)).toEqual({ block: 3, line: 0 });
    putAll(document, bytes, [0]);
    expect(document.numberOf({ block: 0, line: 4 })).toBe(5);
    expect(document.gaps()).toEqual([{ from: 1, to: 3 }]);
    expect(document.lineWithNumber(9999)).toBeNull();
  });

  it("knows numbers of lines after a gap from anchors, whenever these come", () => {
    const offsets = lines.map((line) => utf8.encode(line).length + 1);
    const startOf = (at: number): number => offsets.slice(0, at).reduce((sum, length) => sum + length, 0);
    const at = lines.length - 50;
    // An anchor is anywhere in a line.
    const anchors = [
      { offset: 0, line: 0 },
      { offset: startOf(at) + 3, line: at },
    ];
    for (const isFirst of [true, false]) {
      const document = new LogDocument();
      if (isFirst) document.setAnchors(anchors);
      putAll(document, bytes, [3]);
      if (!isFirst) document.setAnchors(anchors);
      const ref = document.lineWithNumber(at + 1);
      expect(ref === null ? null : textOf(document, ref)).toBe(lines[at]);
      expect(document.numberOf(ref ?? { block: 0, line: 0 })).toBe(at + 1);
      expect(document.lineWithNumber(5)).toBeNull();
      putAll(document, bytes);
      expect(document.numberOf(document.lineAt(at))).toBe(at + 1);
    }
  });

  it("forgets bytes beyond its limit, and not what they were", () => {
    const document = new LogDocument(2 * BLOCK);
    putAll(document, bytes);
    expect(document.cachedSize).toBeLessThanOrEqual(2 * BLOCK);
    expect(document.lineCount).toBe(lines.length);
    expect(document.isCached(0)).toBe(false);
    expect(document.line(document.lineAt(0))).toBeNull();
    expect(document.blocksOf({ block: 0, line: 0 })).toEqual({ from: 0, to: 1 });
    document.put(0, bytes.slice(0, BLOCK));
    expect(textOf(document, document.lineAt(0))).toBe(lines[0]);
  });

  it("carries styles over lines and blocks, also if a block's border cuts their sequence", () => {
    for (let shift = 0; shift < 8; shift++) {
      const document = new LogDocument();
      const head = "x".repeat(BLOCK - 6 + shift);
      const log = utf8.encode(`${head}\x1b[1;31m\nred\n${"y\n".repeat(BLOCK)}\x1b[0mplain\n`);
      putAll(document, log, [3, 2, 1, 0].slice(-Math.ceil(log.length / BLOCK)));
      const style = (at: number): unknown => document.styleAt(document.lineAt(at));
      expect(style(0)).toEqual({});
      expect(style(1), String(shift)).toEqual({ bold: true, foreground: 1 });
      expect(style(BLOCK)).toEqual({ bold: true, foreground: 1 });
      expect(document.line(document.lineAt(BLOCK + 2))?.spans[0]?.style.bold).toBe(false);
    }
  });
});

describe("sections", () => {
  function documentOf(text: string): LogDocument {
    const document = new LogDocument();
    putAll(document, utf8.encode(text));
    return document;
  }

  it("are commands with their duration and exit state", () => {
    const document = documentOf("preparing\n$ make\nout\n$ cd a\n$ make b\nno\n$ echo after\n");
    const steps = [
      { index: 0, exit_code: 0, duration_ms: 1200 },
      { index: 1, exit_code: 2, duration_ms: 30 },
    ];
    const found = findSections(document, steps);
    expect(
      found.map(({ title, header, end, exitCode, durationMs, sinceStartMs }) => [
        title,
        header.line,
        end?.line ?? null,
        exitCode,
        durationMs,
        sinceStartMs,
      ]),
    ).toEqual([
      ["make", 1, 3, 0, 1200, 0],
      ["cd a", 3, 4, 2, 30, 1200],
      ["make b", 4, 6, null, null, null],
      ["echo after", 6, null, null, null, null],
    ]);
  });

  it("begin where the worker says, whatever the output looks like", () => {
    const text = "$ make\n$ cd a\n$ no command\n$ make b\nno\n$ echo after\n";
    const startedAt = "2026-11-30T10:00:00.000Z";
    const steps = [
      { index: 0, exit_code: 0, duration_ms: 5, started_at: startedAt, log_offset: 0 },
      { index: 2, exit_code: 2, duration_ms: 6, log_offset: text.indexOf("$ make b") },
    ];
    const found = findSections(documentOf(text), steps);
    expect(found.map(({ title, exitCode, timeMs }) => [title, exitCode, timeMs])).toEqual([
      ["make", 0, Date.parse(startedAt)],
      ["make b", 2, null],
      ["echo after", null, null],
    ]);
  });

  it("join items that form one command", () => {
    const document = documentOf("$ if true; then\n$ echo a\n$ fi\na\n$ echo b\nb\n");
    const found = findSections(document, [
      { index: 0, exit_code: 0, duration_ms: 5 },
      { index: 3, exit_code: 0, duration_ms: 6 },
    ]);
    expect(found.map(({ title, header, end }) => [title, header.line, end?.line ?? null])).toEqual([
      ["if true; then", 0, 4],
      ["echo b", 4, null],
    ]);
  });

  it("are groups of scripts, in commands and in each other", () => {
    const document = documentOf(
      "$ run\n\x1b[0Ksection_start:100:build[collapsed=true]\r\x1b[0KBuild it\na\n::group::Inner\nb\n::endgroup::\n" +
        "\x1b[0Ksection_end:103:build\r\x1b[0K\nc\n",
    );
    const found = findSections(document, []);
    expect(
      found.map(({ kind, title, header, end, depth, durationMs, isCollapsed }) => [
        kind,
        title,
        header.line,
        end?.line ?? null,
        depth,
        durationMs,
        isCollapsed,
      ]),
    ).toEqual([
      ["command", "run", 0, null, 0, null, false],
      ["group", "Build it", 1, 7, 1, 3000, true],
      ["group", "Inner", 3, 6, 2, null, false],
    ]);
  });

  it("are the ends of services' logs, whose lines are no commands", () => {
    const document = documentOf(
      "$ test\nno\n--- the end of the log of the service `postgres:17`\n$ not a command\nready\n---\nlast\n",
    );
    expect(
      findSections(document, []).map(({ kind, title, header, end }) => [
        kind,
        title,
        header.line,
        end?.line ?? null,
      ]),
    ).toEqual([
      ["command", "test", 0, 2],
      ["service", "postgres:17", 2, 6],
    ]);
  });

  it("are found where a block's border cuts them", () => {
    for (let shift = 0; shift < 12; shift++) {
      const head = `${"x".repeat(BLOCK - 8 + shift)}\n`;
      for (const order of [
        [0, 1],
        [1, 0],
      ]) {
        const document = new LogDocument();
        putAll(document, utf8.encode(`${head}$ make all\nout\n`), order);
        const [found] = findSections(document, []);
        expect(found?.title).toBe("make all");
        expect(textOf(document, found?.header ?? { block: 0, line: 0 })).toBe("$ make all");
      }
    }
  });

  it("give no durations to commands after a gap", () => {
    const document = new LogDocument();
    const text = `$ a\n${"x\n".repeat(BLOCK)}$ b\n`;
    putAll(document, utf8.encode(text), [2]);
    const found = findSections(document, [{ index: 0, exit_code: 0, duration_ms: 1 }]);
    expect(found.map(({ title, durationMs }) => [title, durationMs])).toEqual([["b", null]]);
  });

  it("hide their lines when they are folded", () => {
    const document = documentOf("$ a\n1\n2\n$ b\n3\n$ c\n4\n");
    const sections = findSections(document, []);
    const rows = new Rows(
      document,
      [sections[0], sections[2]].filter((one) => one !== undefined),
    );
    const shown = Array.from({ length: rows.count }, (_, row) => {
      const at = rows.at(row);
      return at?.kind === "line" ? textOf(document, at.ref) : "gap";
    });
    expect(shown).toEqual(["$ a", "$ b", "3", "$ c"]);
    expect([0, 1, 2, 3, 4, 5, 6].map((line) => rows.rowOf({ block: 0, line }))).toEqual([
      0, 0, 0, 1, 2, 3, 3,
    ]);
  });

  it("show a row for each gap", () => {
    const document = new LogDocument();
    putAll(document, utf8.encode("x\n".repeat(2 * BLOCK)), [0, 3]);
    const rows = new Rows(document, []);
    const first = document.linesOf(0);
    expect(rows.count).toBe(first + 1 + document.linesOf(3));
    expect(rows.at(first)).toEqual({ kind: "gap", gap: { from: 1, to: 3 } });
    expect(rows.rowOfGap(2)).toBe(first);
    expect(rows.rowOf({ block: 3, line: 0 })).toBe(first + 1);
    expect(rows.rowOf({ block: 0, line: first - 1 })).toBe(first - 1);
    expect(rows.at(first - 1)).toEqual({ kind: "line", ref: { block: 0, line: first - 1 } });
  });
});

describe("a search", () => {
  const query = { text: "needle", isRegex: false, matchesCase: false };

  function searchOf(
    document: LogDocument,
    matcher: Matcher,
    need: Blocks["need"] = () => Promise.resolve(),
  ): Search {
    return new Search(
      { document, need },
      matcher,
      () => undefined,
      () => Promise.resolve(),
    );
  }

  function matcherOf(changes: Partial<typeof query>): Matcher {
    const matcher = Matcher.of({ ...query, ...changes });
    if (!(matcher instanceof Matcher)) throw new Error(String(matcher));
    return matcher;
  }

  it("finds lines in what is shown, not in sequences", async () => {
    const document = new LogDocument();
    putAll(document, utf8.encode("a NEE\x1b[1mDLE\nneed\rneedle\n\x1b]0;needle\x07x\nneedle needle\n"));
    const search = searchOf(document, matcherOf({}));
    await search.run(false);
    expect(search.progress).toEqual({ matches: 3, isCut: false, searched: 1, blocks: 1 });
    expect(search.next(null, true)).toEqual({ block: 0, line: 0 });
    expect(search.next({ block: 0, line: 0 }, true)).toEqual({ block: 0, line: 1 });
    expect(search.next({ block: 0, line: 1 }, true)).toEqual({ block: 0, line: 3 });
    expect(search.next({ block: 0, line: 3 }, true)).toBeNull();
    expect(search.next(null, false)).toEqual({ block: 0, line: 3 });
    expect(search.ordinal({ block: 0, line: 3 })).toBe(3);
  });

  it("reads what is missing when it is asked to, and finds lines across blocks", async () => {
    const document = new LogDocument();
    const log = utf8.encode(`${"x".repeat(BLOCK - 3)}needle\n${"x\n".repeat(BLOCK)}needle\n`);
    document.grow(log.length);
    document.put(3, log.slice(3 * BLOCK));
    const need = ({ from, to }: { from: number; to: number }): Promise<void> => {
      for (let block = from; block < Math.min(to, 4); block++)
        document.put(block, log.slice(block * BLOCK, (block + 1) * BLOCK));
      return Promise.resolve();
    };
    const search = searchOf(document, matcherOf({ matchesCase: true }), need);
    await search.run(false);
    expect(search.progress).toMatchObject({ matches: 1, searched: 1, blocks: 4 });
    await search.run(true);
    expect(search.progress.searched).toBe(4);
    // The first line is longer than what is shown of a line.
    expect(search.progress.matches).toBe(1);
  });

  it("counts what comes while it is open", async () => {
    const document = new LogDocument();
    const search = searchOf(document, matcherOf({}));
    const offset = document.append(0, utf8.encode("needle\nnee"));
    await search.run(false);
    expect(search.progress.matches).toBe(1);
    document.append(offset, utf8.encode("dle\n"));
    await search.run(false);
    expect(search.progress.matches).toBe(2);
  });

  it("understands regular expressions, and says what is wrong with one", () => {
    const matcher = matcherOf({ text: "n.*?e", isRegex: true });
    expect(matcher.ranges("Needle nope")).toEqual([
      { start: 0, end: 2 },
      { start: 7, end: 11 },
    ]);
    expect(matcherOf({ text: "x*", isRegex: true }).ranges("abc")).toEqual([]);
    expect(typeof Matcher.of({ ...query, text: "(", isRegex: true })).toBe("string");
    expect(Matcher.of({ ...query, text: "" })).toBeNull();
  });

  it("marks places in lines", () => {
    expect(matcherOf({}).ranges("Needle and needle")).toEqual([
      { start: 0, end: 6 },
      { start: 11, end: 17 },
    ]);
  });
});
