// People sign in with a real OpenID provider: roles, sessions, the command line, and what another site cannot do.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { findings } from "./axe.mjs";
import { freePort, loaded, start, waitUntil } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";
import { CLIENT_ID, startProvider } from "./provider.mjs";

const repo = "https://git.example.org/harbour/mill.git";
const PEOPLE = {
  alice: { name: "Alice", email: "alice@example.org", email_verified: true, groups: ["harbour"] },
  bob: { name: "Bob", email: "bob@example.org", email_verified: true, groups: [] },
  carol: { name: "Carol", email: "carol@example.org", email_verified: true, groups: [] },
  dora: { name: "Dora", email: "dora@example.org", email_verified: true, groups: [] },
};
let provider;
let world;

before(async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  provider = await startProvider(url, PEOPLE);
  const oidc = ["--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT_ID];
  world = await start({ port, options: ["--public-url", url, ...oidc] });
  const give = (role, target) => world.api.post("/api/role", { role, ...target });
  await give("developer", { group: "oidc:harbour", repo });
  await give("viewer", { user: "oidc:bob@example.org" });
  await give("admin", { user: "oidc:dora@example.org" });
});

after(async () => {
  await world?.stop();
  await provider?.close();
});

const signInLink = (page) => page.getByRole("link", { name: /^Sign in with / });

/** Signs in with the provider, from the page that asks for it. */
async function choose(page, person) {
  await signInLink(page).click();
  await page.getByRole("button", { name: person === null ? "Refuse" : `I am ${person}` }).click();
}

/** Opens a page as a person, in a window of its own. */
async function openAs(person, path) {
  const opened = await world.open(path, { signIn: null });
  await choose(opened.page, person);
  await opened.page.getByRole("link", { name: /^Signed in as/ }).waitFor();
  return opened;
}

async function sessionCookie(page) {
  const cookies = await page.context().cookies(world.url);
  return cookies.find(({ name }) => name === "tidemill-session");
}

/** The status of a request with these headers, as a program sends it. */
async function status(path, headers, method = "GET") {
  return (await fetch(world.url + path, { method, headers })).status;
}

test("a link to a job's line leads there after the sign-in, which is not stored in the page", async () => {
  const id = await world.api.start(pipelines.checks("linked", 0, 1));
  await world.api.ended(id, 120);
  const path = `/executions/${id}/jobs/unit#L1`;
  const { page, problems, close } = await world.open(path, { signIn: null });
  await signInLink(page).waitFor();
  assert.deepEqual(await findings(page), []);
  await choose(page, "alice");
  await page.getByRole("heading", { name: "unit" }).waitFor();
  assert.equal(page.url(), world.url + path);
  await page.getByRole("link", { name: "Signed in as alice@example.org" }).waitFor();
  const cookie = await sessionCookie(page);
  assert.ok(cookie.httpOnly);
  assert.equal(cookie.sameSite, "Lax");
  assert.equal(await page.evaluate("document.cookie"), "");
  const stored = await page.evaluate("JSON.stringify([{ ...sessionStorage }, { ...localStorage }])");
  assert.ok(!stored.includes(cookie.value));
  assert.deepEqual(problems, []);
  await close();
});

test("a developer cancels, and a viewer is not offered to", async () => {
  const id = await world.api.start(pipelines.endless());
  const viewer = await openAs("bob", `/executions/${id}`);
  await viewer.page.locator(".execution-header").waitFor();
  await viewer.page.getByRole("button", { name: "Cancel" }).waitFor({ state: "detached" });
  await viewer.page.goto(`${world.url}/settings/secrets?repo=${encodeURIComponent(repo)}`);
  const alert = viewer.page.getByRole("alert");
  await alert.getByText("Your role does not allow this").waitFor();
  await alert.getByText(/maintainer/).waitFor();
  await alert.getByRole("button", { name: "sign in as someone else" }).waitFor();
  await alert.getByRole("link", { name: "your account" }).click();
  await viewer.page.getByRole("region", { name: "Your roles" }).getByText("viewer").waitFor();
  await viewer.close();
  const developer = await openAs("alice", `/executions/${id}`);
  await developer.page.getByRole("button", { name: "Cancel" }).click();
  await developer.page.getByRole("button", { name: "Really cancel?" }).click();
  await developer.page.locator(".execution-header .status-badge.canceled").waitFor();
  await developer.close();
});

test("only those whose approval counts are offered to approve, and the others learn why", async () => {
  const by = ["user:oidc:alice@example.org", "user:oidc:dora@example.org"];
  const rule = { repo, environment: "lock", approvals: 2, by, exclude_starter: true };
  await world.api.post("/api/environment/protection", rule);
  const id = await world.api.start(pipelines.guarded("lock"));
  const path = `/executions/${id}/jobs/open`;
  const approve = (page) => page.getByRole("button", { name: "Approve" });
  const viewer = await openAs("bob", path);
  await viewer.page.getByText("lock: 0 of 2 approvals").waitFor();
  await viewer.page.getByText("You are not among those who may approve this job").waitFor();
  assert.equal(await viewer.page.locator(".page-head .actions button").count(), 0);
  const developer = await openAs("alice", "/");
  const mine = developer.page.getByRole("region", { name: "Waiting for approval" });
  await mine.getByText("0 of 2 approvals").waitFor();
  await mine.getByText("open", { exact: true }).click();
  await approve(developer.page).click();
  await developer.page.getByText("You have approved this job").waitFor();
  assert.equal(await approve(developer.page).count(), 0);
  await developer.page.getByRole("button", { name: "Cancel" }).waitFor();
  await developer.close();
  await viewer.page.getByText("waiting for approval: 1 of 2 approvals", { exact: true }).waitFor();
  assert.equal(await approve(viewer.page).count(), 0);
  await viewer.page.goto(`${world.url}/`);
  const others = viewer.page.getByRole("region", { name: "Waiting for the approval of others" });
  await others.getByText("1 of 2 approvals").waitFor();
  assert.equal(await viewer.page.getByRole("region", { name: "Waiting for approval" }).count(), 0);
  assert.equal(await viewer.page.getByRole("link", { name: "Start an execution" }).count(), 0);
  assert.deepEqual(await findings(viewer.page), []);
  await viewer.close();
  const administrator = await openAs("dora", path);
  await approve(administrator.page).click();
  await administrator.page.locator(".status-badge.success").waitFor();
  await administrator.close();
});

test("a rule that changes is seen when its viewer comes back to the tab", async () => {
  const rule = { repo, environment: "sluice", approvals: 1, exclude_starter: true };
  await world.api.post("/api/environment/protection", { ...rule, by: ["user:oidc:dora@example.org"] });
  const id = await world.api.start(pipelines.guarded("sluice"));
  const { page, close } = await openAs("alice", `/executions/${id}/jobs/open`);
  await page.getByText("You are not among those who may approve this job").waitFor();
  await world.api.post("/api/environment/protection", { ...rule, by: ["user:oidc:alice@example.org"] });
  for (const hidden of [true, false]) {
    await page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new window.Event("visibilitychange"));
    }, hidden);
  }
  await page.getByRole("button", { name: "Approve" }).click();
  await page.locator(".status-badge.success").waitFor();
  await close();
});

test("a person without a role learns what to ask for, and gets it from an administrator", async () => {
  const id = await world.api.start(pipelines.checks("given", 0, 1));
  await world.api.ended(id, 120);
  const carol = await openAs("carol", "/");
  await carol.page.getByText("Your role does not allow this").waitFor();
  await carol.page.getByRole("link", { name: "your account" }).click();
  await carol.page.getByText("You have no role").waitFor();
  await carol.page.getByText("oidc:carol@example.org").waitFor();
  assert.deepEqual(await findings(carol.page), []);
  const dora = await openAs("dora", "/settings/roles");
  const form = dora.page.getByRole("form", { name: "Give a role" });
  await form.getByLabel("Name").fill("oidc:carol@example.org");
  await form.getByLabel("Repository").fill("https://git.example.org/harbour/*");
  await form.getByRole("button", { name: "Give role" }).click();
  const rule = dora.page.locator("tbody tr", { hasText: "oidc:carol@example.org" });
  await rule.getByText("viewer").waitFor();
  await rule.getByText("dora@example.org").waitFor();
  assert.deepEqual(await findings(dora.page), []);
  await carol.page.goto(`${world.url}/executions/${id}`);
  await carol.page.locator(".execution-header").waitFor();
  await rule.getByRole("button", { name: "Remove" }).click();
  await rule.getByRole("button", { name: "Really remove?" }).click();
  await rule.waitFor({ state: "detached" });
  await carol.page.reload();
  await carol.page.getByRole("alert").waitFor();
  assert.equal(await carol.page.locator(".execution-header").count(), 0);
  await dora.page.goto(`${world.url}/settings/audit`);
  await dora.page.locator("tbody tr", { hasText: "role.remove" }).first().waitFor();
  await carol.close();
  await dora.close();
});

test("a person ends a session of another browser, and signs out", async () => {
  const first = await openAs("alice", "/");
  const second = await openAs("alice", "/settings/account");
  const cookie = await sessionCookie(second.page);
  const table = second.page.getByRole("region", { name: "Your sessions" });
  await table.getByText("this one").waitFor();
  const others = table.locator("tbody tr").filter({ hasNotText: "this one" });
  // Earlier tests signed in as the same person.
  for (let left = await others.count(); left > 0; left -= 1) {
    await others.first().getByRole("button", { name: "End" }).click();
    await others.first().getByRole("button", { name: "Really end?" }).click();
    await waitUntil(second.page, `document.querySelectorAll("tbody tr button").length === ${left}`);
  }
  await first.page.getByText("Your session is over").waitFor();
  await signInLink(first.page).waitFor();
  await second.page.getByRole("button", { name: "Sign out" }).click();
  await signInLink(second.page).waitFor();
  assert.equal(await sessionCookie(second.page), undefined);
  // The cookie is void at the server, too.
  assert.equal(await status("/api/overview", { cookie: `${cookie.name}=${cookie.value}` }), 401);
  await second.page.goto(`${world.url}/`);
  await signInLink(second.page).waitFor();
  await first.close();
  await second.close();
});

test("an administrator ends the session of another person", async () => {
  const bob = await openAs("bob", "/executions");
  const dora = await openAs("dora", "/settings/sessions");
  const sessions = dora.page.locator("tbody tr", { hasText: "bob@example.org" });
  await sessions.first().waitFor();
  for (let left = await sessions.count(); left > 0; left -= 1) {
    await sessions.first().getByRole("button", { name: "End" }).click();
    await sessions.first().getByRole("button", { name: "Really end?" }).click();
    await waitUntil(
      dora.page,
      `[...document.querySelectorAll("tbody tr")].filter((row) => row.textContent.includes("bob@example.org")).length < ${left}`,
    );
  }
  await bob.page.getByText("Your session is over").waitFor();
  await bob.close();
  await dora.close();
});

test("a cookie counts for changes by the server's own pages only", async () => {
  const id = await world.api.start(pipelines.waiting());
  const { page, close } = await openAs("alice", "/");
  const { name, value } = await sessionCookie(page);
  const cookie = `${name}=${value}`;
  const path = `/api/pipeline/cancel/${id}`;
  const own = { cookie, "x-tidemill-request": "1", origin: world.url, "sec-fetch-site": "same-origin" };
  const withoutMark = { ...own };
  delete withoutMark["x-tidemill-request"];
  assert.equal(await status(path, withoutMark, "POST"), 403);
  assert.equal(await status(path, { ...own, origin: provider.issuer }, "POST"), 403);
  assert.equal(await status(path, { ...own, "sec-fetch-site": "cross-site" }, "POST"), 403);
  assert.equal(await status("/api/overview", { cookie }), 200);
  // A page of another site in the same browser: a form cannot send the mark, and the browser sends no cookie with it.
  await page.goto(`${provider.issuer}/interaction/any`);
  const sent = page.waitForResponse((reply) => reply.url().includes(path));
  await page.evaluate((action) => {
    const form = Object.assign(document.createElement("form"), { method: "post", action });
    document.body.append(form);
    form.submit();
  }, world.url + path);
  assert.equal((await sent).status(), 401);
  assert.equal((await world.api.status(id)).execution.end_time ?? null, null);
  await close();
  await world.api.post(path);
});

test("a refused sign-in says so, and another one works", async () => {
  const { page, close } = await world.open("/executions", { signIn: null });
  await choose(page, null);
  await page.getByText("The sign-in was refused").waitFor();
  assert.equal(new URL(page.url()).pathname, "/login");
  await choose(page, "alice");
  await loaded(page);
  assert.equal(new URL(page.url()).pathname, "/");
  await close();
});

test("a token works beside the providers, and a wrong one is not kept", async () => {
  const { page, close } = await world.open("/", { signIn: null });
  const enter = async (token) => {
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  await page.getByText("Use a token").click();
  await enter("wrong");
  await page.getByText("The token is not valid").waitFor();
  assert.equal(await page.evaluate("sessionStorage.getItem('tidemill-token')"), null);
  await enter(world.token);
  await page.getByRole("heading", { name: "Home" }).waitFor();
  await close();
});

/** Waits for the browser as `tidemill login` does, and returns where it waits and the query that came. */
async function commandLine() {
  let come;
  const query = new Promise((resolve) => {
    come = resolve;
  });
  const server = createServer((request, reply) => {
    come(new URL(request.url, "http://127.0.0.1").searchParams);
    reply.writeHead(200, { "content-type": "text/plain" }).end("Go back to the terminal.");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port: server.address().port, query, close };
}

test("the command line gets a token of the person who allows it", async () => {
  const verifier = randomBytes(32).toString("base64url");
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  const waiting = await commandLine();
  const path = `/login?challenge=${challenge}&port=${waiting.port}&state=st-1`;
  const { page, close } = await world.open(path, { signIn: null });
  await choose(page, "alice");
  await page.getByRole("heading", { name: "Sign in the command line?" }).waitFor();
  assert.deepEqual(await findings(page), []);
  await page.getByRole("button", { name: "Allow" }).click();
  const query = await waiting.query;
  assert.equal(query.get("state"), "st-1");
  const body = JSON.stringify({ code: query.get("code"), verifier, machine: "ship" });
  const headers = { "content-type": "application/json" };
  const exchange = () => fetch(`${world.url}/api/session/token`, { method: "POST", headers, body });
  const { token } = await (await exchange()).json();
  assert.equal((await exchange()).status, 401, "a code works once");
  const authorization = `Bearer ${token}`;
  const info = await (await fetch(`${world.url}/api/session`, { headers: { authorization } })).json();
  assert.equal(info.caller.name, "alice@example.org");
  await close();
  waiting.close();
});

test("the command line learns a refusal, and an address that it did not open gets nothing", async () => {
  const waiting = await commandLine();
  const challenge = "c".repeat(43);
  const { page, close } = await openAs("alice", "/");
  await page.goto(`${world.url}/login?challenge=${challenge}&port=${waiting.port}&state=a%20b`);
  await page.getByText("This address is not one that").waitFor();
  assert.equal(await page.getByRole("button", { name: "Allow" }).count(), 0);
  await page.goto(`${world.url}/login?challenge=${challenge}&port=${waiting.port}&state=st-2`);
  await page.getByRole("button", { name: "Refuse" }).click();
  const query = await waiting.query;
  assert.deepEqual([query.get("error"), query.get("state"), query.has("code")], ["denied", "st-2", false]);
  await close();
  waiting.close();
});
