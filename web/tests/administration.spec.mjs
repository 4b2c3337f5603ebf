// The lists of administration: secrets, tokens, webhooks, schedules, dead letters; and who may see what.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { loaded, start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const repo = "https://git.example.org/harbour/mill.git";
const SECRET = "a secret of the webhook, long enough";
let world;

before(async () => {
  world = await start();
});

after(() => world?.stop());

const on = (path, options, steps) => world.visit(path, options, steps);
const of = (list) => `/settings/${list}?repo=${encodeURIComponent(repo)}`;
const rows = (page, text) => page.locator("tbody tr", { hasText: text });

function register(details) {
  const body = JSON.stringify({ provider: "github", webhook_secret: SECRET, ...details });
  return world.api.call("/api/repository", { method: "PUT", body });
}

/** Posts a delivery as GitHub does. */
async function deliver(event, secret = SECRET) {
  const body = JSON.stringify({ zen: "Keep it simple.", repository: { clone_url: repo } });
  const headers = {
    "content-type": "application/json",
    "x-github-event": event,
    "x-github-delivery": `d-${event}`,
    "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
  };
  return (await fetch(`${world.api.url}/api/webhook/github`, { method: "POST", headers, body })).status;
}

test("secrets show their names only, and variables their values unless masked", async () => {
  await world.api.post("/api/secret", { repo, name: "SIGNING_KEY", value: "not-for-the-page" });
  await world.api.post("/api/secret", { repo, name: "REGION", value: "north", variable: {} });
  await world.api.post("/api/secret", {
    repo,
    name: "TOKEN",
    value: "masked-value",
    variable: { masked: true },
  });
  await on(of("secrets"), {}, async (page) => {
    await rows(page, "SIGNING_KEY").getByText("hidden").waitFor();
    await rows(page, "REGION").getByText("north").waitFor();
    await rows(page, "TOKEN").getByText("hidden").waitFor();
    const text = await page.locator("main").textContent();
    assert.ok(!text.includes("not-for-the-page") && !text.includes("masked-value"));
  });
});

test("a token is revoked after a question", async () => {
  await world.api.createToken("short-lived", ["read"]);
  await on("/settings/tokens", {}, async (page) => {
    const row = rows(page, "short-lived");
    await row.getByText("read", { exact: true }).waitFor();
    await row.getByRole("button", { name: "Revoke" }).click();
    await row.getByRole("button", { name: "Really revoke?" }).click();
    await row.waitFor({ state: "detached" });
  });
  await on("/settings/audit", {}, (page) => rows(page, "token.revoke").first().waitFor());
});

test("a token is created, and shown once", async () => {
  await on("/settings/tokens", {}, async (page) => {
    const form = page.getByRole("form", { name: "Create a token" });
    await form.getByLabel("Name").fill("deploy");
    await form.getByLabel("Scope").selectOption("run");
    await form.getByLabel("Repository").fill("git.example.org/harbour/mill");
    await form.getByLabel("Valid for").selectOption("30 days");
    await form.getByRole("button", { name: "Create token" }).click();
    const token = await page.getByRole("status").locator("code").textContent();
    const row = rows(page, "deploy");
    await row.getByText("run", { exact: true }).waitFor();
    await row.getByText(/^in 4 weeks|^in 29 days|^in 30 days/).waitFor();
    const headers = { authorization: `Bearer ${token}` };
    const status = async (path) => (await fetch(world.api.url + path, { headers })).status;
    assert.equal(await status("/api/pipeline/executions"), 200);
    assert.equal(await status("/api/token"), 403);
    await page.getByRole("button", { name: "Done" }).click();
    assert.ok(!(await page.locator("main").textContent()).includes(token));
  });
});

test("secrets and variables are set and removed", async () => {
  await on(of("secrets"), {}, async (page) => {
    const form = page.getByRole("form", { name: "Set a secret or a variable" });
    await form.getByLabel("Name").fill("NEW_KEY");
    await form.getByLabel("Value").fill("first line\nsecond line");
    await form.getByRole("button", { name: "Set" }).click();
    await rows(page, "NEW_KEY").getByText("hidden").waitFor();
    assert.equal(await form.getByLabel("Value").inputValue(), "");
    await form.getByLabel("Name").fill("CHANNEL");
    await form.getByLabel("Value").fill("stable");
    await form.getByLabel("Kind").selectOption("variable");
    await form.getByLabel("Environment").fill("staging");
    await form.getByRole("button", { name: "Set" }).click();
    await rows(page, "CHANNEL").getByText("staging").waitFor();
    for (const name of ["NEW_KEY", "CHANNEL"]) {
      const row = rows(page, name);
      await row.getByRole("button", { name: "Remove" }).click();
      await row.getByRole("button", { name: "Really remove?" }).click();
      await row.waitFor({ state: "detached" });
    }
  });
});

test("a token without the scope learns what each list needs", async () => {
  const reader = await world.api.createToken("reader", ["read"]);
  const lists = [
    "/settings/repositories",
    of("secrets"),
    "/settings/tokens",
    "/settings/audit",
    "/settings/disk",
  ];
  for (const path of lists) {
    await on(path, { signIn: reader }, async (page) => {
      const alert = page.getByRole("alert");
      await alert.getByText("The token does not allow this").waitFor();
      await alert.getByText(/admin/).first().waitFor();
      await alert.getByRole("button", { name: "sign in with another token" }).waitFor();
    });
  }
  await on("/start", { signIn: reader }, async (page) => {
    await page.getByText("the token needs the scope run").waitFor();
    assert.equal(await page.locator("main button").count(), 0);
  });
  await on("/settings/dead-letters", { signIn: reader }, (page) =>
    page.getByText("There are no dead letters").waitFor(),
  );
});

test("dead letters lead to their jobs, and are dismissed", async () => {
  const id = await world.api.start(pipelines.checks("lost"));
  const { execution, jobs } = await world.api.ended(id, 120);
  const job = { ...jobs[0], failure_reason: { kind: "worker_lost", message: "three workers were lost" } };
  const { page, problems, close } = await world.open("/");
  let letters = [{ execution, job }];
  await page.route("**/api/job/dead-letters?*", (route) =>
    route.fulfill({ json: { dead_letters: letters } }),
  );
  let dismissed = "";
  await page.route("**/api/job/dismiss/*", (route) => {
    dismissed = route.request().url();
    letters = [];
    return route.fulfill({ json: { dismissed: true } });
  });
  await page.goto(`${world.url}/settings/dead-letters`);
  await rows(page, "three workers were lost").getByRole("link", { name: job.job_name }).waitFor();
  await page.getByRole("button", { name: "Dismiss" }).click();
  await page.getByText("There are no dead letters").waitFor();
  assert.ok(dismissed.endsWith(job.id));
  assert.deepEqual(problems, []);
  await close();
});

test("deliveries of a webhook show their outcome, and are delivered again", async () => {
  await register({ url: repo });
  assert.equal(await deliver("ping"), 200);
  assert.notEqual(await deliver("ping", "another secret, which is wrong here"), 200);
  await on("/settings/repositories", {}, async (page) => {
    await rows(page, "harbour/mill").getByRole("link", { name: "Deliveries" }).click();
    await rows(page, "ping").getByText("started nothing").waitFor();
    await page.getByText(/1 delivery was rejected/).waitFor();
    await rows(page, "ping").getByRole("button", { name: "Redeliver" }).click();
    await rows(page, "ping again").waitFor();
    assert.equal(await rows(page, "ping").count(), 2);
  });
});

test("a repository is registered, changed and removed", async () => {
  const url = "https://gitlab.example.org/harbour/registered.git";
  await on("/settings/repositories", {}, async (page) => {
    await page.getByText("Register a repository, or change one").click();
    const form = page.getByRole("form", { name: "Register a repository" });
    await form.getByLabel("Address").fill(url);
    assert.equal(await form.getByLabel("Provider").inputValue(), "gitlab");
    await form.getByLabel("Token for clones").fill("glpat-0123456789");
    assert.ok(await form.getByRole("button", { name: "Save" }).isDisabled(), "a token without its user");
    await form.getByLabel("User for clones").fill("oauth2");
    await form.getByLabel("Default branch").fill("trunk");
    await form.getByRole("button", { name: "Save" }).click();
    const status = page.getByRole("status");
    await status.getByText(`${world.url}/api/webhook/gitlab`).waitFor();
    const secret = await status.locator("code").nth(1).textContent();
    assert.ok(secret.length >= 32, secret);
    const row = rows(page, "harbour/registered");
    await row.getByText("gitlab, trunk").waitFor();
    await row.getByRole("cell", { name: "token", exact: true }).waitFor();
    await status.getByRole("button", { name: "Done" }).click();
    assert.ok(!(await page.locator("main").textContent()).includes(secret));
    // What is left empty stays as it is.
    await form.getByLabel("Address").fill(url);
    await form.getByLabel("Readers").selectOption("anyone");
    await form.getByRole("button", { name: "Save" }).click();
    await page.getByRole("status").getByText("with the same secret as before").waitFor();
    await row.getByText("anyone").waitFor();
    await row.getByText("gitlab, trunk").waitFor();
    await row.getByRole("cell", { name: "token", exact: true }).waitFor();
    await row.getByRole("button", { name: "Remove" }).click();
    await row.getByRole("button", { name: "Really remove?" }).click();
    await row.waitFor({ state: "detached" });
  });
});

test("a login at a registry is set and removed, and its password is never shown", async () => {
  await on(of("registries"), {}, async (page) => {
    const form = page.getByRole("form", { name: "Set a login" });
    await form.getByLabel("Registry").fill("registry.example.org/team");
    await form.getByLabel("User").fill("builder");
    await form.getByLabel("Password or token").fill("hunter2-hunter2");
    await form.getByRole("button", { name: "Set" }).click();
    const row = rows(page, "registry.example.org/team");
    await row.getByText("builder").waitFor();
    assert.ok(!(await page.content()).includes("hunter2-hunter2"));
    await row.getByRole("button", { name: "Remove" }).click();
    await row.getByRole("button", { name: "Really remove?" }).click();
    await page.getByText("There are none. Set one here").waitFor();
  });
});

test("an execution is kept for ever, and left to the rules again", async () => {
  const id = await world.api.start(pipelines.checks("kept"));
  await world.api.ended(id, 120);
  await on(`/executions/${id}`, {}, async (page) => {
    await page.getByRole("button", { name: "Keep for ever" }).click();
    await page.getByText(/^kept for ever by /).waitFor();
    await page.getByRole("button", { name: "Do not keep for ever" }).click();
    await page.getByRole("button", { name: "Really?" }).click();
    await page.getByRole("button", { name: "Keep for ever", exact: true }).waitFor();
  });
});

test("schedules show their next times, and start now", async () => {
  const id = await world.api.start(pipelines.checks("scheduled"));
  const schedule = {
    repo: "git.example.org/harbour/mill",
    path: ".pipelines/nightly.yml",
    index: 1,
    pipeline_name: "nightly",
    cron: "30 2 * * *",
    time_zone: "Europe/Stockholm",
    next_times: [1, 2, 3].map((days) => new Date(Date.now() + days * 86_400_000).toISOString()),
  };
  const { page, problems, close } = await world.open("/");
  await page.route("**/api/schedule", (route) => route.fulfill({ json: { schedules: [schedule] } }));
  let started = null;
  await page.route("**/api/schedule/run", (route) => {
    started = route.request().postDataJSON();
    return route.fulfill({ status: 201, json: { execution_id: id, run_number: 1, created: true } });
  });
  await page.goto(`${world.url}/settings/schedules`);
  const row = rows(page, "nightly");
  await row.getByText("30 2 * * *").waitFor();
  assert.equal(await row.locator("time").count(), 3);
  await row.getByRole("button", { name: "Run now" }).click();
  await page.locator(".execution-header").waitFor();
  assert.deepEqual(started, { repo: schedule.repo, path: schedule.path, index: 1 });
  assert.deepEqual(problems, []);
  await close();
});

test("an environment is protected, and its rule removed", async () => {
  await on(of("environments"), {}, async (page) => {
    const form = page.getByRole("form", { name: "Protect an environment" });
    await form.getByLabel("Environment").fill("production");
    await form.getByLabel("Approvals").fill("2");
    await form.getByRole("textbox", { name: "By" }).fill("nobody");
    await form.getByRole("button", { name: "Protect" }).click();
    await page.getByRole("alert").getByText("does not say who may approve").waitFor();
    await form.getByRole("textbox", { name: "By" }).fill("group:github:acme/ops, token:release");
    await form.getByLabel("Not by who started it").check();
    await form.getByRole("button", { name: "Protect" }).click();
    const row = rows(page, "production");
    await row.getByText("group github:acme/ops, token release").waitFor();
    await row.getByText("does not count").waitFor();
    await row.getByRole("button", { name: "Remove" }).click();
    await row.getByRole("button", { name: "Really remove?" }).click();
    await page.getByText("No environment is protected").waitFor();
  });
});

test("the use of the disk is shown by kind and by repository", async () => {
  const id = await world.api.start(pipelines.delivery(false), {
    repo: "https://git.example.org/harbour/disk.git",
  });
  await world.api.until(id, (view) =>
    view.jobs.some((job) => job.job_name === "package" && job.status === "SUCCESS"),
  );
  const usage = await world.api.call("/api/retention/usage");
  const used = usage.repositories.find((one) => one.repo === "git.example.org/harbour/disk");
  assert.ok(used.executions === 1 && used.log_bytes > 0 && used.artifact_bytes > 0, JSON.stringify(usage));
  for (const width of [1280, 390]) {
    await on("/settings/disk", { width }, async (page) => {
      await loaded(page);
      const kinds = page.getByRole("region", { name: "Use by kind" });
      for (const kind of ["Records", "Logs", "Artifacts", "Caches", "Uploaded sources", "Free"])
        await kinds.getByText(kind, { exact: true }).waitFor();
      const cells = rows(page, "harbour/disk").getByRole("cell");
      assert.equal(await cells.nth(1).textContent(), "1");
      assert.match(await cells.nth(2).textContent(), /^[1-9].* KiB$/);
      const widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]");
      assert.ok(widths[0] <= widths[1], `${widths}`);
    });
  }
  const { page, problems, close } = await world.open("/");
  await page.route("**/api/retention/usage", (route) =>
    route.fulfill({ json: { ...usage, measured_at: undefined } }),
  );
  await page.goto(`${world.url}/settings/disk`);
  await page.getByText("This deployment does not measure what it stores").waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("rules of retention are set, edited and removed", async () => {
  const view = (query = "") => world.api.call(`/api/retention${query}`);
  await on(of("retention"), {}, async (page) => {
    const server = page.getByRole("region", { name: "Rules of the server" });
    const form = server.getByRole("form");
    await server.getByText("executions and their logs are kept for ever").waitFor();
    assert.ok(await form.getByRole("button", { name: "Set" }).isDisabled());
    await form.getByLabel("Days of executions").fill("90");
    await form.getByLabel("Newest to keep").fill("20");
    await form.getByRole("button", { name: "Set" }).click();
    await server.getByText("executions: 90 days; the newest 20 of each pipeline").waitFor();
    const repository = page.getByRole("region", { name: "Rules of the repository" });
    const own = repository.getByRole("form");
    await own.getByLabel("Pipeline").fill("nightly");
    await own.getByLabel("Days of logs").fill("99999999");
    await own.getByRole("button", { name: "Set" }).click();
    await repository
      .getByRole("alert")
      .getByText(/`log_days` is at most/)
      .waitFor();
    await own.getByLabel("Days of logs").fill("7");
    // Another administrator sets a rule meanwhile: it is still there afterwards.
    await world.api.post("/api/retention", { repo, settings: { rule: { days: 30 } } });
    await own.getByRole("button", { name: "Set" }).click();
    const row = repository.locator("tbody tr", { hasText: "nightly" });
    await row.getByText("logs: 7 days").waitFor();
    await repository.getByText("executions: 30 days").waitFor();
    await row.getByRole("button", { name: "Edit" }).click();
    await own.getByLabel("Executions of tags").selectOption("as any other");
    await own.getByRole("button", { name: "Set" }).click();
    await row.getByText("tags: as any other; logs: 7 days").waitFor();
    const query = `?repo=${encodeURIComponent(repo)}`;
    assert.deepEqual((await view(query)).settings, {
      rule: { days: 30 },
      pipelines: { nightly: { keep_tags: false, log_days: 7 } },
    });
    await row.getByRole("button", { name: "Remove" }).click();
    await row.getByRole("button", { name: "Really remove?" }).click();
    await row.waitFor({ state: "detached" });
    const all = server.locator("tbody tr");
    await all.getByRole("button", { name: "Remove" }).click();
    await all.getByRole("button", { name: "Really remove?" }).click();
    await server.getByText("executions and their logs are kept for ever").waitFor();
    assert.deepEqual((await view()).settings, {});
  });
  const reader = await world.api.createToken("retention-reader", ["read"]);
  await on("/settings/retention", { signIn: reader }, async (page) => {
    await page.getByText("executions and their logs are kept for ever").waitFor();
    assert.equal(await page.getByRole("form").count(), 0);
  });
});

test("a badge gets an address, is shown, and is revoked", async () => {
  const image = async (address) => {
    const reply = await fetch(address);
    assert.equal(reply.headers.get("content-type"), "image/svg+xml");
    return reply.text();
  };
  await on(of("badges"), {}, async (page) => {
    const badge = page.getByRole("region", { name: "Badge" });
    await badge.getByLabel("Pipeline").fill("unknown");
    await badge.getByRole("button", { name: "Show the address" }).click();
    const address = await badge.locator("code").first().textContent();
    assert.match(address, /\/api\/badge\/[0-9a-f]{32}\.svg\?pipeline=unknown$/);
    assert.ok((await badge.locator("code").nth(1).textContent()).startsWith("[![build]("));
    await page.waitForFunction("document.querySelector('main img').naturalWidth > 0");
    assert.match(await image(address), /<svg/);
    await badge.getByRole("button", { name: "Revoke" }).click();
    await badge.getByRole("button", { name: "Really revoke?" }).click();
    await badge.getByText("The address shows nothing any more").waitFor();
    assert.equal(await badge.locator("img").count(), 0);
  });
  for (const action of ["badge.publish", "badge.revoke"])
    await on("/settings/audit", {}, (page) => rows(page, action).first().waitFor());
});

test("anyone may read the executions and logs of a public repository, and nothing else", async () => {
  const url = "https://git.example.org/harbour/public.git";
  await register({ url, public: true });
  const shown = await world.api.start(pipelines.checks("shown", 0, 1), { repo: url });
  const hidden = await world.api.start(pipelines.checks("hidden"));
  for (const id of [shown, hidden]) await world.api.ended(id, 120);
  await on(`/executions?repo=${encodeURIComponent(url)}`, { signIn: null }, async (page) => {
    await page.locator(".execution-row", { hasText: "shown" }).click();
    await page.locator(".graph-node", { hasText: "unit" }).waitFor();
    assert.equal(await page.locator(".execution-header .actions button").count(), 0);
    assert.equal(await page.getByRole("link", { name: "Artifacts" }).count(), 0);
    await page.getByRole("link", { name: "Summary", exact: true }).waitFor();
    await page.locator(".job-row", { hasText: "unit" }).first().click();
    await page.locator(".log-row", { hasText: "unit tests" }).first().waitFor();
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Sign in to Tidemill" }).waitFor();
  });
  for (const path of [`/executions/${hidden}`, "/executions", "/", "/settings/tokens"]) {
    await on(path, { signIn: null }, (page) =>
      page.getByRole("heading", { name: "Sign in to Tidemill" }).waitFor(),
    );
  }
  await on("/settings/repositories", {}, async (page) => {
    await loaded(page);
    await rows(page, "harbour/public").getByText("anyone").waitFor();
  });
});
