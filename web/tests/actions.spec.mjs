// What users do: start, approve, cancel, retry, sign in and out.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

let world;

before(async () => {
  world = await start();
});

after(() => world?.stop());

test("a manual job is approved, and the page follows the execution to its end", async () => {
  const id = await world.api.start(pipelines.delivery(false));
  const { page, close } = await world.open(`/executions/${id}`);
  await world.api.until(
    id,
    (view) => view.jobs.some((job) => job.job_name === "staging" && job.status === "SUCCESS"),
    120,
  );
  await page.locator(".graph-node.approval").click();
  await page.getByRole("heading", { name: "production" }).waitFor();
  await page.getByRole("button", { name: "Approve" }).click();
  await page.locator(".status-badge.success").waitFor();
  assert.equal(await page.getByRole("button", { name: "Approve" }).count(), 0);
  assert.equal(await page.title(), "production succeeded · Tidemill");
  await close();
});

test("home shows what waits for an approval", async () => {
  const id = await world.api.start(pipelines.waiting());
  const { page, close } = await world.open("/");
  await page.getByRole("region", { name: "Waiting for approval" }).getByText("release").click();
  await page.getByRole("heading", { name: "release" }).waitFor();
  await close();
  await world.api.post(`/api/pipeline/cancel/${id}`);
});

test("cancel asks first, and ends the execution", async () => {
  const id = await world.api.start(pipelines.endless());
  const { page, close } = await world.open(`/executions/${id}`);
  await page.locator(".job-row .status-icon.running").first().waitFor();
  assert.match(await page.locator("link[rel=icon]").getAttribute("href"), /running/);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Really cancel?" }).click();
  await page.locator(".execution-header .status-badge.canceled").waitFor();
  assert.equal(await page.getByRole("button", { name: "Cancel" }).count(), 0);
  await page.getByRole("button", { name: "Retry all" }).waitFor();
  await close();
});

test("a log that was opened before its job starts fills when it runs", async () => {
  const id = await world.api.start(pipelines.delayed());
  const { page, close } = await world.open(`/executions/${id}/jobs/second`);
  await page.getByRole("heading", { name: "second" }).waitFor();
  await page.getByText("printed by the second job").last().waitFor();
  await close();
});

test("each attempt of a retried job has its log", async () => {
  const id = await world.api.start(pipelines.retried());
  await world.api.ended(id, 120);
  const { page, close } = await world.open(`/executions/${id}/jobs/always-fails`);
  const attempts = page.getByRole("navigation", { name: "Attempts" });
  await attempts.getByText("Attempt 2").waitFor();
  await attempts.getByText("Attempt 1").click();
  assert.match(page.url(), /\?attempt=1$/);
  await page.getByText("this attempt fails").last().waitFor();
  await close();
});

test("retrying one job shows the new execution", async () => {
  const id = await world.api.start(pipelines.checks("again", 0, 1));
  await world.api.ended(id, 120);
  const { page, close } = await world.open(`/executions/${id}/jobs/unit`);
  await page.getByRole("button", { name: "Retry this job" }).click();
  await page.getByRole("heading", { name: "again #2" }).waitFor();
  await page.getByText("Retry of").waitFor();
  await close();
});

test("an execution is started by hand with typed inputs", async () => {
  const { page, close } = await world.open("/start?from=file");
  await page.getByLabel("Repository", { exact: true }).fill("https://git.example.org/harbour/mill.git");
  await page.getByLabel("Its text").fill(pipelines.withInputs());
  const level = page.getByRole("spinbutton", { name: "level" });
  await level.waitFor();
  assert.equal(await level.inputValue(), "3");
  await level.fill("7");
  await page.getByRole("combobox", { name: "kind" }).selectOption("spring");
  await page.getByRole("checkbox", { name: "dry" }).check();
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.getByText("level=7").waitFor();
  await page.getByText("kind=spring").waitFor();
  await page.getByText("dry=true").waitFor();
  await close();
});

test("a mistake in a pipeline file is shown before the start", async () => {
  const { page, close } = await world.open("/start?from=file");
  await page.getByLabel("Its text").fill("name: [");
  await page.getByRole("alert").waitFor();
  assert.ok(await page.getByRole("button", { name: "Start", exact: true }).isDisabled());
  await close();
});

test("sign-in, a wrong token, a missing scope and sign-out", async () => {
  const id = await world.api.start(pipelines.endless());
  const reader = await world.api.createToken("reader", ["read"]);
  const { page, close } = await world.open(`/executions/${id}`, { signIn: null });
  await page.getByLabel("Token", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The token is not valid").waitFor();
  await page.getByLabel("Token", { exact: true }).fill(reader);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".execution-header").waitFor();
  // What the token does not allow is not offered, and a list that needs more says what.
  await page.getByRole("button", { name: "Cancel" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByText("The token does not allow this").waitFor();
  await page.getByRole("button", { name: "sign in with another token" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in to Tidemill" }).waitFor();
  assert.equal(await page.evaluate("sessionStorage.getItem('tidemill-token')"), null);
  await close();
  await world.api.post(`/api/pipeline/cancel/${id}`);
});

test("a job of a protected environment shows who approved it and what is missing", async () => {
  const repo = "https://git.example.org/harbour/mill.git";
  const rule = { repo, environment: "vault", approvals: 2, by: ["token:*"], exclude_starter: false };
  await world.api.post("/api/environment/protection", rule);
  const second = await world.api.createToken("keeper", ["run"]);
  const id = await world.api.start(pipelines.guarded("vault"));
  const path = `/executions/${id}/jobs/open`;
  await world.visit(path, { signIn: second }, async (page) => {
    await page.getByText("vault: 0 of 2 approvals, to be given by token *").waitFor();
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByText("approved by keeper").waitFor();
    await page.getByText("vault: 1 of 2 approvals").waitFor();
    await page.getByText("You have approved this job").waitFor();
    assert.equal(await page.getByRole("button", { name: "Approve" }).count(), 0);
  });
  await world.visit("/", {}, async (page) => {
    await page.getByRole("region", { name: "Waiting for approval" }).getByText("open").click();
    await page.getByText("waiting for approval: 1 of 2 approvals", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Approve" }).click();
    await page.locator(".status-badge.success").waitFor();
    await page.getByText("approved by admin").waitFor();
    assert.equal(await page.getByText("to be given by").count(), 0);
  });
});

test("a pipeline of a repository is started at a branch, with the inputs of its file", async () => {
  const repo = "https://git.example.org/harbour/tide.git";
  const id = await world.api.start(pipelines.withInputs(), {
    repo,
    file: ".pipelines/inputs.yml",
    inputs: { kind: "neap" },
  });
  await world.api.ended(id, 120);
  const { page, problems, close } = await world.open("/");
  let started = null;
  await page.route("**/api/repository/run", (route) => {
    started = route.request().postDataJSON();
    return route.fulfill({ status: 201, json: { execution_id: id, run_number: 1, created: true } });
  });
  await page.goto(`${world.url}/start`);
  await page.getByLabel("Repository", { exact: true }).fill(repo);
  const path = page.getByLabel("Its file");
  await page.getByRole("spinbutton", { name: "level" }).waitFor();
  assert.equal(await page.getByRole("combobox", { name: "Pipeline" }).inputValue(), "inputs");
  assert.equal(await path.inputValue(), ".pipelines/inputs.yml");
  await page.getByLabel("Branch").fill("topic");
  await page.getByRole("spinbutton", { name: "level" }).fill("5");
  await page.getByRole("combobox", { name: "kind" }).selectOption("spring");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.locator(".execution-header").waitFor();
  const inputs = { level: 5, kind: "spring" };
  assert.deepEqual(started, { repo, path: ".pipelines/inputs.yml", branch: "topic", inputs });
  assert.deepEqual(problems, []);
  await close();
});

test("a repository that is not registered cannot be started by name, and the page says so", () =>
  world.visit("/start", {}, async (page) => {
    await page.getByLabel("Repository", { exact: true }).fill("https://git.example.org/harbour/unknown.git");
    await page.getByLabel("Its file").fill(".pipelines/ci.yml");
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await page
      .getByRole("alert")
      .getByText(/tidemill repo add/)
      .waitFor();
  }));
