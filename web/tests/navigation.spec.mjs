// How one gets from page to page, and what is offered where.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start, waitUntil } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const commit = "fedcba9876543210fedcba9876543210fedcba98";
const other = "https://git.example.org/harbour/charts.git";
let world;
let failed;

before(async () => {
  world = await start();
  const commit_details = { message: "Raise the weir", author: "Jonas Weber <jonas@example.org>" };
  failed = await world.api.start(pipelines.twoFailures(), { branch: "topic", commit, commit_details });
  const ids = [failed, await world.api.start(pipelines.checks("charts"), { repo: other })];
  for (const id of ids) await world.api.ended(id, 120);
});

after(() => world?.stop());

const on = (path, options, steps) => world.visit(path, options, steps);

test("the repository, the branch and the pipeline of an execution lead to their executions", () =>
  on(`/executions/${failed}`, {}, async (page) => {
    const header = page.locator(".execution-header");
    for (const [name, query] of [
      ["harbour/mill", "repo"],
      ["topic", "branch"],
      ["two-failures", "pipeline"],
    ]) {
      await header.getByRole("link", { name, exact: true }).click();
      await page.locator(".execution-row").getByText("Raise the weir").waitFor();
      assert.ok(new URL(page.url()).searchParams.has(query), page.url());
      assert.equal(await page.locator(".execution-row").getByText("charts", { exact: true }).count(), 0);
      await page.goBack();
      await header.waitFor();
    }
  }));

test("the search takes a part of a message, and the beginning of a commit", () =>
  on("/executions", {}, async (page) => {
    const search = page.getByRole("searchbox");
    const rows = page.locator(".execution-row");
    for (const text of ["the weir", commit.slice(0, 9)]) {
      await rows.getByText("charts", { exact: true }).first().waitFor();
      await search.fill(text);
      await rows.getByText("charts", { exact: true }).first().waitFor({ state: "detached" });
      await rows.getByText("Raise the weir").waitFor();
      assert.equal(new URL(page.url()).searchParams.get("text"), text);
      await search.fill("");
    }
    await search.fill("nothing has this");
    await page.getByText("No executions match.").waitFor();
  }));

test("repository, pipeline, event and author filter the list", () =>
  on("/executions", {}, async (page) => {
    const rows = page.locator(".execution-row");
    for (const [label, option] of [
      ["Repository", "https://git.example.org/harbour/mill.git"],
      ["Pipeline", "two-failures"],
      ["Author", "Jonas Weber <jonas@example.org>"],
    ]) {
      await rows.getByText("charts", { exact: true }).first().waitFor();
      await page.getByRole("combobox", { name: label }).selectOption(option);
      await rows.getByText("charts", { exact: true }).first().waitFor({ state: "detached" });
      await rows.getByText("Raise the weir").waitFor();
      await page.getByRole("button", { name: "Clear" }).click();
    }
    await page.getByRole("combobox", { name: "Event" }).selectOption("schedule");
    await page.getByText("No executions match.").waitFor();
    assert.equal(new URL(page.url()).searchParams.get("event"), "schedule");
  }));

test("light or dark is chosen by a button, and stays", () =>
  on("/", {}, async (page) => {
    const theme = () => page.evaluate("document.documentElement.dataset.theme");
    assert.equal(await theme(), "system");
    const background = () =>
      page.evaluate("getComputedStyle(document.querySelector('.top-bar')).backgroundColor");
    await page.getByRole("button", { name: "Change to light" }).click();
    const light = await background();
    await page.getByRole("button", { name: "Change to dark" }).click();
    assert.equal(await theme(), "dark");
    assert.notEqual(await background(), light);
    await page.reload();
    await page.getByRole("button", { name: "Change to system" }).waitFor();
    assert.equal(await theme(), "dark");
  }));

test("a link to a job's line leads there after sign-in", () =>
  on(`/executions/${failed}/jobs/between#L1`, { signIn: null }, async (page) => {
    await page.getByLabel("Token", { exact: true }).fill(world.token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "between" }).waitFor();
    await page.locator(".log-row.selected").waitFor();
    assert.match(page.url(), /\/jobs\/between#L1$/);
  }));

test("a failed job leads to the next one", () =>
  on(`/executions/${failed}/jobs/first`, {}, async (page) => {
    await page.getByRole("link", { name: "Next failed job: last" }).click();
    await page.getByRole("heading", { name: "last", exact: true }).waitFor();
    await page.getByRole("link", { name: "Next failed job: first" }).waitFor();
    await page.keyboard.press(".");
    await page.getByRole("heading", { name: "first", exact: true }).waitFor();
  }));

test("jobs and executions offer only what works in their state", async () => {
  const buttons = async (path, heading) => {
    let names = [];
    await on(path, {}, async (page) => {
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
      await page.locator(".execution-header .status-badge").waitFor();
      names = await page.locator(".execution-header .actions button").allTextContents();
    });
    return names.map((name) => name.trim());
  };
  assert.deepEqual(await buttons(`/executions/${failed}/jobs/first`, "first"), ["Retry this job"]);
  assert.deepEqual(await buttons(`/executions/${failed}`, "two-failures"), [
    "Retry unsuccessful jobs",
    "Retry all",
    "Keep for ever",
  ]);
  const running = await world.api.start(pipelines.endless());
  await world.api.until(running, (view) => view.jobs.some((job) => job.status === "RUNNING"));
  assert.deepEqual(await buttons(`/executions/${running}`, "endless"), ["Cancel"]);
  assert.deepEqual(await buttons(`/executions/${running}/jobs/watch`, "watch"), ["Cancel"]);
  assert.deepEqual(await buttons(`/executions/${running}/jobs/after`, "after"), ["Cancel"]);
  await world.api.post(`/api/pipeline/cancel/${running}`);
  await world.api.ended(running);
  assert.deepEqual(await buttons(`/executions/${running}/jobs/watch`, "watch"), ["Retry this job"]);
  // After the end of its execution, a job that nobody approved can only run in another one, and the button says so.
  const ended = await world.api.start(pipelines.optional());
  await world.api.ended(ended);
  assert.deepEqual(await buttons(`/executions/${ended}/jobs/publish`, "publish"), ["Run in a retry"]);
  await on(`/executions/${ended}/jobs/publish`, {}, async (page) => {
    await page.getByRole("button", { name: "Run in a retry" }).click();
    await page.getByText("Retry of").waitFor();
    await waitUntil(page, "document.title.includes('succeeded')");
  });
});

test("retrying all jobs shows the new execution", () =>
  on(`/executions/${failed}`, {}, async (page) => {
    await page.getByRole("button", { name: "Retry all" }).click();
    await page.getByRole("heading", { name: "two-failures #2" }).waitFor();
    await page.getByText("Retry of").waitFor();
    assert.equal(await page.locator(".job-row").getByText("succeeded in the retried execution").count(), 0);
    await waitUntil(page, "document.title.includes('failed')");
  }));
