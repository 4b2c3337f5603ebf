import { describe, expect, it } from "vitest";
import { once } from "./idempotency";

describe("the key of a request", () => {
  const lost = new Error("no reply");
  async function keyOf(request: unknown, succeeds: boolean): Promise<string | undefined> {
    let key: string | undefined;
    await once(request, (headers) => {
      key = headers["idempotency-key"];
      return succeeds ? Promise.resolve() : Promise.reject(lost);
    }).catch((error: unknown) => expect(error).toBe(lost));
    return key;
  }

  it("stays until the request succeeds, and is that request's only", async () => {
    const first = await keyOf({ branch: "main" }, false);
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(await keyOf({ branch: "topic" }, false)).not.toBe(first);
    expect(await keyOf({ branch: "main" }, true)).toBe(first);
    expect(await keyOf({ branch: "main" }, true)).not.toBe(first);
  });

  it("is forgotten after many others", async () => {
    const first = await keyOf(0, false);
    for (let request = 1; request <= 20; request += 1) await keyOf(request, false);
    expect(await keyOf(0, true)).not.toBe(first);
  });
});
