// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { ListEvents } from "./list_events";

const requests: string[] = [];
let reply: () => Response | Error;

vi.mock("./client", () => {
  class ApiError extends Error {
    constructor(readonly status: number) {
      super();
    }
  }
  return {
    ApiError,
    send: (path: string) => {
      requests.push(path);
      const made = reply();
      return made instanceof Error ? Promise.reject(new ApiError(501)) : Promise.resolve(made);
    },
  };
});

afterEach(() => {
  requests.length = 0;
  vi.useRealTimers();
});

describe("the events of lists", () => {
  it("are waited for, by one stream", async () => {
    let push: (version: string) => void = () => undefined;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        push = (version) =>
          controller.enqueue(new TextEncoder().encode(`event: changed\ndata: {"version":"${version}"}\n\n`));
      },
    });
    reply = () => new Response(body);
    const stop = new AbortController();
    const events = new ListEvents();
    let count = 0;
    const wait = (): Promise<void> =>
      events.next(stop.signal).then(() => {
        count += 1;
      });
    const first = wait();
    await Promise.resolve();
    expect(count).toBe(0);
    push("1");
    await first;
    const second = wait();
    await Promise.resolve();
    expect(count).toBe(1);
    push("2");
    await second;
    expect(count).toBe(2);
    expect(requests).toEqual(["/api/pipeline/changes"]);
    stop.abort();
  });

  it("end with the page that waits for them", async () => {
    reply = () => new Response(new ReadableStream());
    const stop = new AbortController();
    const waiting = new ListEvents().next(stop.signal);
    stop.abort();
    await waiting;
    expect(requests).toHaveLength(1);
  });

  it("come after a time in any case", async () => {
    vi.useFakeTimers();
    reply = () => new Response(new ReadableStream());
    const waiting = new ListEvents().next(new AbortController().signal);
    await vi.advanceTimersByTimeAsync(31_000);
    await waiting;
    expect(requests).toHaveLength(1);
  });

  it("are not asked for again where the server has none", async () => {
    reply = () => new Error();
    const events = new ListEvents();
    const { signal } = new AbortController();
    for (let time = 0; time < 3; time++) await events.next(signal);
    expect(requests).toHaveLength(1);
  });
});
