import { describe, expect, it, vi } from "vitest";
import { listQuery, readFilter } from "../domain/executions";
import { queryText } from "./address";
import { FIRST_LIST, PAGE } from "./first_list";

describe("the early request of the list", () => {
  it("has the address of the first request of the page without filters", () => {
    const query = { ...listQuery(readFilter(new Map())), limit: PAGE };
    expect(FIRST_LIST).toBe(`/api/pipeline/executions${queryText(query)}`);
  });

  it("is sent where the list is shown, and only with a token or a session", async () => {
    const sent: string[] = [];
    const nothing = { getItem: () => null };
    const token = { getItem: (key: string) => (key === "tidemill-token" ? "secret" : null) };
    const shownAt = async (place: string, storage: { getItem: (key: string) => string | null }) => {
      sent.length = 0;
      vi.stubGlobal("FIRST_LIST", FIRST_LIST);
      vi.stubGlobal("document", { baseURI: "https://ci.example.org/ui/", querySelector: () => null });
      vi.stubGlobal("location", { href: `https://ci.example.org/ui/${place}` });
      vi.stubGlobal("sessionStorage", storage);
      vi.stubGlobal("localStorage", nothing);
      vi.stubGlobal("window", {});
      vi.stubGlobal("fetch", (url: URL) => {
        sent.push(url.href.replace("https://ci.example.org/ui", ""));
        return Promise.resolve(new Response("{}"));
      });
      vi.resetModules();
      await import("./early");
      return sent;
    };
    expect(await shownAt("executions", token)).toEqual(["/api/session", FIRST_LIST]);
    expect(await shownAt("executions?repo=a", token)).toEqual(["/api/session"]);
    expect(await shownAt("executions", nothing)).toEqual(["/api/session"]);
    vi.unstubAllGlobals();
  });
});
