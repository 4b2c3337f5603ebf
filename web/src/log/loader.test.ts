import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BLOCK } from "./block";
import { LogLoader } from "./loader";
import type { LogPart, LogRange, LogSource, Mark } from "./source";

/** A log that grows, and notes what is read. */
class FakeSource implements LogSource {
  readonly address = "";
  readonly reads: LogRange[] = [];
  hasEnded = true;
  failures: Error[] = [];

  constructor(public bytes: Uint8Array) {}

  read(range: LogRange): Promise<LogPart> {
    this.reads.push(range);
    const failure = this.failures.shift();
    if (failure !== undefined) return Promise.reject(failure);
    const bytes = this.bytes.slice(range.offset, range.offset + range.limit);
    const next = range.offset + bytes.length;
    const size = this.bytes.length;
    return Promise.resolve({ bytes, next, end: this.hasEnded && next >= size, size });
  }

  marks(): Promise<Mark[]> {
    return Promise.resolve([
      { offset: 0, line: 0, timeMs: 100 },
      { offset: 50 * BLOCK, line: 50 * 4096, timeMs: 200 },
    ]);
  }

  get offsets(): number[] {
    return this.reads.map(({ offset }) => offset / BLOCK);
  }
}

/** What the client throws for a reply with this status. */
function failureOf(status: number): Error {
  return Object.assign(new Error(`The server replied with ${status}.`), { status });
}

function logOf(blocks: number): Uint8Array {
  const bytes = new Uint8Array(blocks * BLOCK).fill(0x78);
  for (let at = 63; at < bytes.length; at += 64) bytes[at] = 0x0a;
  return bytes;
}

describe("a loader", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false }));
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  function loaderOf(source: FakeSource): { loader: LogLoader; changes: () => number } {
    let changes = 0;
    const loader = new LogLoader(source, () => changes++, {
      pause: () => Promise.resolve(),
      now: () => 1000,
    });
    return { loader, changes: () => changes };
  }

  it("reads a short log from its start", async () => {
    const source = new FakeSource(logOf(8));
    const { loader } = loaderOf(source);
    await loader.start(8 * BLOCK);
    expect(source.offsets).toEqual([0, 4]);
    expect(loader.state).toBe("ended");
    expect(loader.document.lineCount).toBe(8 * 4096);
    expect(loader.times.count).toBe(0);
  });

  it("reads the end of a long log first, and the rest as it is needed", async () => {
    const source = new FakeSource(logOf(100));
    const { loader } = loaderOf(source);
    await loader.start(100 * BLOCK);
    expect(source.offsets).toEqual([96]);
    expect(loader.document.gaps()).toEqual([{ from: 0, to: 96 }]);
    await Promise.all([loader.need({ from: 90, to: 96 }), loader.need({ from: 92, to: 94 })]);
    expect(source.offsets).toEqual([96, 90, 94]);
    expect(loader.document.gaps()).toEqual([{ from: 0, to: 90 }]);
    await loader.needAll(() => true);
    expect(loader.document.gaps()).toEqual([]);
    expect(loader.document.lineCount).toBe(100 * 4096);
  });

  it("finds the end of an earlier attempt's log, whose size is not known", async () => {
    for (const blocks of [1, 8, 9, 17, 100]) {
      const source = new FakeSource(logOf(blocks));
      const { loader } = loaderOf(source);
      await loader.start(null);
      expect(loader.state).toBe("ended");
      expect(loader.document.size, String(blocks)).toBe(blocks * BLOCK);
      expect(source.reads.length).toBeLessThan(8);
      const read = source.reads.filter(({ limit }) => limit > 1).map(({ offset }) => offset);
      expect(Math.min(...read)).toBe(blocks <= 8 ? 0 : read[0]);
    }
  });

  it("knows from marks when lines were written, and where a line is", async () => {
    const source = new FakeSource(logOf(100));
    const { loader } = loaderOf(source);
    await loader.start(100 * BLOCK);
    loader.setSteps([{ index: 0, log_offset: 10, started_at: "1970-01-01T00:00:00.150Z" }]);
    await Promise.all([loader.loadMarks(), loader.loadMarks()]);
    expect([0, 10, 50 * BLOCK - 1, 50 * BLOCK].map((offset) => loader.times.at(offset))).toEqual([
      100, 150, 150, 200,
    ]);
    expect(loader.markBefore(60 * 4096)).toEqual({ offset: 50 * BLOCK, end: 100 * BLOCK });
    expect(loader.markBefore(2)).toEqual({ offset: 0, end: 50 * BLOCK });
  });

  it("follows what is printed, with the times at which it came", async () => {
    const source = new FakeSource(new TextEncoder().encode("first\n"));
    source.hasEnded = false;
    const { loader } = loaderOf(source);
    const done = loader.start(0);
    await vi.advanceTimersByTimeAsync(0);
    expect(loader.state).toBe("following");
    expect(loader.times.at(0)).toBeNull();
    source.bytes = new TextEncoder().encode("first\nsecond\n");
    source.hasEnded = true;
    await vi.advanceTimersByTimeAsync(20_000);
    await done;
    expect(loader.state).toBe("ended");
    expect(loader.document.lineCount).toBe(2);
    expect(loader.times.at(6)).toBe(1000);
    expect(source.reads.map(({ waitMs }) => waitMs)).toEqual([0, 10_000]);
  });

  it("tries again after an error, and shows it meanwhile", async () => {
    const source = new FakeSource(logOf(1));
    source.failures = [failureOf(503)];
    const { loader } = loaderOf(source);
    const done = loader.start(BLOCK);
    await vi.advanceTimersByTimeAsync(0);
    expect(loader.error).toMatchObject({ status: 503 });
    await vi.advanceTimersByTimeAsync(10_000);
    await done;
    expect(loader.error).toBeNull();
    expect(loader.state).toBe("ended");
  });

  it("stops when the token does not allow to read", async () => {
    const source = new FakeSource(logOf(1));
    source.failures = [failureOf(403)];
    const { loader } = loaderOf(source);
    const done = loader.start(BLOCK);
    await vi.advanceTimersByTimeAsync(60_000);
    await done;
    expect(loader.error).toMatchObject({ status: 403 });
    expect(source.reads.length).toBe(1);
  });

  it("gives up on a block after some failures", async () => {
    const source = new FakeSource(logOf(20));
    const { loader } = loaderOf(source);
    await loader.start(20 * BLOCK);
    source.failures = Array.from({ length: 50 }, () => failureOf(500));
    await loader.needAll(() => true);
    expect(source.reads.length).toBe(1 + 2 * 5);
    expect(loader.failureOf({ from: 0, to: 1 })).toBe("The server replied with 500.");
    expect(loader.isReading({ from: 0, to: 20 })).toBe(false);
  });

  it("leaves out a part that the server does not have, until it is asked for again", async () => {
    const source = new FakeSource(logOf(20));
    const { loader } = loaderOf(source);
    await loader.start(20 * BLOCK);
    source.failures = [failureOf(404)];
    await loader.needAll(() => true);
    expect(loader.error).toBeNull();
    expect(loader.document.gaps()).toEqual([{ from: 0, to: 4 }]);
    const reads = source.reads.length;
    await loader.need({ from: 0, to: 4 });
    expect(source.reads.length).toBe(reads);
    await loader.need({ from: 0, to: 4 }, true);
    expect(loader.document.gaps()).toEqual([]);
    expect(loader.failureOf({ from: 0, to: 4 })).toBeNull();
  });

  it("reads nothing after it was stopped, and says so", async () => {
    const source = new FakeSource(logOf(20));
    const { loader } = loaderOf(source);
    await loader.start(20 * BLOCK);
    loader.stop();
    await loader.need({ from: 0, to: 4 });
    expect(source.reads.length).toBe(1);
    expect(loader.isReading({ from: 0, to: 20 })).toBe(false);
  });

  it("does not time what was printed while it could not read", async () => {
    const source = new FakeSource(new TextEncoder().encode("first\n"));
    source.hasEnded = false;
    const { loader } = loaderOf(source);
    const done = loader.start(0);
    await vi.advanceTimersByTimeAsync(0);
    source.failures = [failureOf(503)];
    source.bytes = new TextEncoder().encode("first\nsecond\n");
    source.hasEnded = true;
    await vi.advanceTimersByTimeAsync(20_000);
    await done;
    expect(loader.document.lineCount).toBe(2);
    expect(loader.times.at(6)).toBeNull();
  });
});
