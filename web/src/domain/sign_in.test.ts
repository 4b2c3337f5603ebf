import { describe, expect, it } from "vitest";
import { browserName } from "./browser";
import { readLoginRequest, replyAddress } from "./loopback";
import { roleRequest } from "./roles";

describe("the command line’s question", () => {
  const challenge = "c".repeat(43);
  const read = (text: string) => readLoginRequest(new Map(new URLSearchParams(text)));

  it("is answered on this machine only", () => {
    const request = read(`challenge=${challenge}&port=8250&state=s-1`);
    expect(request).toEqual({ challenge, port: 8250, state: "s-1" });
    if (request === null) return;
    expect(replyAddress(request, { code: "a&b" })).toBe("http://127.0.0.1:8250/?code=a%26b&state=s-1");
    expect(replyAddress(request, { error: "denied" })).toBe("http://127.0.0.1:8250/?error=denied&state=s-1");
  });

  it("is rejected if the command line did not ask it", () => {
    for (const port of ["", "0", "65536", "80@evil.example", "80/x", "1e3", "-1", "%2080", "080"])
      expect(read(`challenge=${challenge}&state=s&port=${port}`), port).toBeNull();
    expect(read(`challenge=${challenge}&port=80`)).toBeNull();
    expect(read(`challenge=${challenge}&port=80&state=a%20b`)).toBeNull();
    expect(read("challenge=short&port=80&state=s")).toBeNull();
  });
});

describe("a session", () => {
  it("is shown with the name of its browser", () => {
    const chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
    expect(browserName(`Mozilla/5.0 (X11; Linux x86_64) ${chrome}`)).toBe("Chrome on Linux");
    expect(browserName(`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${chrome} Edg/140.0.0.0`)).toBe(
      "Edge on Windows",
    );
    expect(
      browserName("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ).toBe("Firefox on macOS");
    expect(browserName("x".repeat(100))).toBe("x".repeat(40));
    expect(browserName(null)).toBe("unknown");
  });
});

describe("a rule of a role", () => {
  it("is for a person, a group or everyone, in one repository or all", () => {
    expect(roleRequest("admin", "user", " oidc:a ", "")).toEqual({ role: "admin", user: "oidc:a" });
    expect(roleRequest("viewer", "group", "oidc:b", " git.example.org/* ")).toEqual({
      role: "viewer",
      group: "oidc:b",
      repo: "git.example.org/*",
    });
    expect(roleRequest("developer", "everyone", "left over", "*")).toEqual({ role: "developer" });
    expect(roleRequest("owner", "everyone", "", "").role).toBe("viewer");
  });
});
