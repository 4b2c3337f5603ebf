import { describe, expect, it } from "vitest";
import { browserName } from "./browser";
import { loopbackAddress } from "./loopback";
import { roleRequest } from "./roles";

describe("the command line gets its code", () => {
  it("on this machine only", () => {
    expect(loopbackAddress("8250", "a&b")).toBe("http://127.0.0.1:8250/?code=a%26b");
    for (const port of [undefined, "", "0", "65536", "80@evil.example", "80/x", "1e3", "-1", " 80"])
      expect(loopbackAddress(port, "code"), port).toBeNull();
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
