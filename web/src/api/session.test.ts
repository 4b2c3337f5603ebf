import { beforeEach, describe, expect, it, vi } from "vitest";
import type * as Account from "./account";
import type * as Client from "./client";
import type * as Session from "./session";

const PERSON = { name: "Alice", person: "oidc:#1", scopes: ["read"], session: "s" };
const PROVIDERS = [{ id: "oidc", name: "id.example.org" }] as const;

describe("who is signed in", () => {
  let session: typeof Session;
  let account: typeof Account;
  let client: typeof Client;
  let caller: object | null;
  let ending: number;
  const sent: { path: string; method: string; headers: Headers }[] = [];
  const kept = new Map<string, string>();
  /** The base element of the document, as the server wrote it. */
  let base: { dataset: Record<string, string> } = { dataset: {} };

  beforeEach(async () => {
    kept.clear();
    sent.length = 0;
    caller = null;
    ending = 200;
    vi.resetModules();
    vi.stubGlobal("document", { baseURI: "https://ci.example.org/below/", querySelector: () => base });
    const storage = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
      removeItem: (key: string) => kept.delete(key),
    };
    vi.stubGlobal("sessionStorage", storage);
    vi.stubGlobal("localStorage", storage);
    vi.stubGlobal("fetch", (address: string, init: RequestInit) => {
      const [path, method] = [new URL(address).pathname, init.method ?? "GET"];
      sent.push({ path, method, headers: init.headers as Headers });
      if (method === "DELETE") return Promise.resolve(Response.json({}, { status: ending }));
      if (path.endsWith("/api/session"))
        return Promise.resolve(
          Response.json({ providers: PROVIDERS, ...(caller === null ? {} : { caller }) }),
        );
      return Promise.resolve(Response.json({ title: "No valid token" }, { status: 401 }));
    });
    session = await import("./session");
    account = await import("./account");
    client = await import("./client");
  });

  it("is not known before the server replies, and then a person or nobody", async () => {
    expect(session.viewer.value).toBe("unknown");
    await account.loadSession();
    expect(session.viewer.value).toBe("anonymous");
    expect(session.mayRun.value).toBe(false);
    caller = PERSON;
    await account.loadSession();
    expect(session.viewer.value).toBe("identified");
    expect(session.mayRun.value).toBe(false);
    caller = { ...PERSON, scopes: ["run"] };
    await account.loadSession();
    expect([session.mayRun.value, session.mayAdminister.value]).toEqual([true, false]);
    caller = { ...PERSON, scopes: ["admin"] };
    await account.loadSession();
    expect([session.mayRun.value, session.mayAdminister.value]).toEqual([true, true]);
  });

  it("is nobody any more when the session is over", async () => {
    caller = PERSON;
    await account.loadSession();
    await expect(client.send("/api/overview")).rejects.toThrow();
    expect(session.viewer.value).toBe("rejected");
    expect(session.session.value.rejection).toBe("ended");
    expect(session.sessionInfo.value).toEqual({ providers: PROVIDERS });
  });

  it("does not keep a token that the server rejects", async () => {
    session.signIn("wrong", true);
    expect([...kept.values()]).toEqual(["wrong"]);
    await expect(client.send("/api/overview")).rejects.toThrow();
    expect(session.session.value).toEqual({ token: "wrong", rejection: "invalid" });
    expect(kept.size).toBe(0);
  });

  it("signs out of a session at the server, and of a token in the browser", async () => {
    caller = PERSON;
    await account.loadSession();
    caller = null;
    await account.signOut();
    expect(sent.filter(({ method }) => method === "DELETE").map(({ path }) => path)).toEqual([
      "/below/api/session",
    ]);
    expect(session.session.value.rejection).toBe("signed-out");
    session.signIn("token", false);
    await account.signOut();
    expect(sent.filter(({ method }) => method === "DELETE")).toHaveLength(1);
    expect(kept.size).toBe(0);
  });

  it("stays signed in if the server does not confirm the end of the session", async () => {
    caller = PERSON;
    await account.loadSession();
    ending = 503;
    await expect(account.signOut()).rejects.toThrow();
    expect(session.viewer.value).toBe("identified");
    ending = 401;
    caller = null;
    await account.signOut();
    expect(session.viewer.value).toBe("rejected");
  });

  it("shows that requests with a cookie that change something are the page’s own", async () => {
    await account.loadSession();
    await client.remove("/api/session");
    const marked = sent.map(({ method, headers }) => [method, headers.get("x-tidemill-request")]);
    expect(marked).toEqual([
      ["GET", null],
      ["DELETE", "1"],
    ]);
    expect(sent.every(({ headers }) => !headers.has("authorization"))).toBe(true);
  });

  it("has a credential for requests with a cookie where a gateway asks for one", async () => {
    base = { dataset: { authorization: "Session" } };
    vi.resetModules();
    client = await import("./client");
    session = await import("./session");
    await client.get("/api/session");
    session.signIn("a-token", false);
    await client.get("/api/session");
    base = { dataset: {} };
    expect(sent.map(({ headers }) => headers.get("authorization"))).toEqual(["Session", "Bearer a-token"]);
  });

  it("comes back to the page that asked for the sign-in", () => {
    expect(account.signInAddress({ ...PROVIDERS[0] }, "/executions?repo=a%2Fb#L3")).toBe(
      "https://ci.example.org/below/api/session/login?provider=oidc&return_to=%2Fexecutions%3Frepo%3Da%252Fb%23L3",
    );
  });
});
