// What the pages show of real executions.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { loaded, start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

let world;
let failed;
const commit = "0123456789abcdef0123456789abcdef01234567";

before(async () => {
  world = await start();
  failed = await world.api.start(pipelines.delivery(true), {
    commit,
    commit_details: {
      message: "Close the gate\n\nAt low water.",
      author: "Mara Lindqvist <mara@example.org>",
    },
  });
  const other = await world.api.start(pipelines.checks("checks"), { branch: "topic" });
  await world.api.ended(failed, 120);
  await world.api.ended(other, 120);
});

after(() => world?.stop());

const on = (path, options, steps) => world.visit(path, options, steps);

test("home shows repositories with their history", () =>
  on("/", {}, async (page) => {
    const card = page.locator(".repository-card");
    await card.getByRole("link", { name: "harbour/mill" }).waitFor();
    await card.getByRole("link", { name: "delivery", exact: true }).waitFor();
    assert.ok((await card.locator(".history-bars a").count()) >= 2);
    await card.locator(".history-bars a").first().click();
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.match(page.url(), /\/executions\/[0-9a-f-]{36}$/);
  }));

test("a page asks for its data before its code is there, and once", async () => {
  const cases = {
    "/": "/api/overview",
    "/executions": "/api/pipeline/executions",
    [`/executions/${failed}`]: `/api/pipeline/status/${failed}`,
  };
  for (const [path, data] of Object.entries(cases)) {
    const { page, problems, close } = await world.open("/settings/nothing-here");
    const asked = new Set();
    const isAsked = page.waitForRequest((request) => new URL(request.url()).pathname === data);
    page.on("request", (request) => asked.add(request.url()));
    await page.route("**/assets/index-*.js", async (route) => {
      await isAsked;
      await route.continue();
    });
    await page.goto(world.url + path);
    await loaded(page);
    // The code would ask at another address if it did not take the reply.
    assert.equal([...asked].filter((url) => new URL(url).pathname === data).length, 1, path);
    assert.deepEqual(problems, []);
    await close();
  }
});

test("filters are in the address", () =>
  on("/executions", {}, async (page) => {
    await page.locator(".execution-row").nth(1).waitFor();
    await page.getByRole("combobox", { name: "Status" }).selectOption("FAILED");
    await page.locator(".execution-row").getByText("checks").waitFor({ state: "detached" });
    assert.match(page.url(), /\?status=FAILED$/);
    await page.reload();
    await page.locator(".execution-row").getByText("Close the gate").waitFor();
    assert.equal(await page.locator(".execution-row").count(), 1);
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByRole("combobox", { name: "Branch" }).selectOption("topic");
    await page.locator(".execution-row").getByText("Close the gate").waitFor({ state: "detached" });
    await page.locator(".execution-row").getByText("checks").waitFor();
  }));

test("a new execution appears in the list without a reload", () =>
  on("/executions", {}, async (page) => {
    await page.locator(".execution-row").nth(1).waitFor();
    await world.api.start(pipelines.checks("fresh"));
    await page.locator(".execution-row").getByText("fresh").waitFor();
  }));

test("keys move, open, search and help", () =>
  on("/executions", {}, async (page) => {
    await page.locator(".execution-row").nth(1).waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.locator("li.selected[aria-posinset='1']").waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Keys" }).waitFor({ state: "detached" });
    await page.keyboard.press("/");
    assert.equal(await page.evaluate("document.activeElement.type"), "search");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: "Go to" }).fill("settings tokens");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Tokens" }).waitFor();
    await page.goBack();
    await page.locator(".execution-row").nth(1).waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.locator(".execution-header").waitFor();
  }));

test("an execution shows its commit, and failed jobs first", () =>
  on(`/executions/${failed}`, {}, async (page) => {
    const header = page.locator(".execution-header");
    for (const text of ["Close the gate", "Mara Lindqvist", commit.slice(0, 8), "main"]) {
      await header.getByText(text, { exact: true }).waitFor();
    }
    assert.equal(await page.title(), "delivery #1 failed · Tidemill");
    assert.match(await page.locator("link[rel=icon]").getAttribute("href"), /failed/);
    const first = page.locator(".job-list section").first();
    await first.getByRole("heading", { name: "Failed" }).waitFor();
    await first.getByText("the script ended with exit code 1").waitFor();
  }));

test("an allowed failure is not shown as a failure", () =>
  on(`/executions/${failed}`, {}, async (page) => {
    const row = page.locator(".job-row", { hasText: "browser" });
    await row.locator(".status-icon.tolerated").waitFor();
    assert.equal(await row.locator(".failed-text").count(), 0);
  }));

test("the graph folds a matrix and marks the critical path", () =>
  on(`/executions/${failed}`, {}, async (page) => {
    const folded = page.locator(".graph-node.folded");
    await folded.getByText("4/4").waitFor();
    assert.ok((await page.locator(".graph-node.critical").count()) >= 2);
    assert.ok((await page.locator(".edge.critical").count()) >= 1);
    await folded.click();
    await page.getByRole("list", { name: "Variants of compile" }).getByText("[target=linux-arm64]").click();
    await page.getByRole("heading", { name: "compile [target=linux-arm64]" }).waitFor();
    assert.match(page.url(), /\/jobs\/compile%20%5Btarget%3Dlinux-arm64%5D$/);
  }));

test("the timeline shows waits, preparation and scripts", () =>
  on(`/executions/${failed}?view=timeline`, {}, async (page) => {
    await page.locator(".timeline li").nth(9).waitFor();
    for (const kind of ["waiting", "preparing", "running"]) {
      assert.ok((await page.locator(`.span.${kind}`).count()) > 0, kind);
    }
  }));

test("failed tests are shown with their message", () =>
  on(`/executions/${failed}?view=tests`, {}, async (page) => {
    await page.locator("summary", { hasText: "closes at low water" }).waitFor();
    await page.getByText("expected closed, found open").waitFor();
    await page.getByText("Slowest tests").click();
    const slowest = page.getByRole("table").getByRole("row");
    assert.match(await slowest.first().textContent(), /turns both ways.*1\.4s/);
  }));

test("artifacts list their files and can be downloaded", () =>
  on(`/executions/${failed}?view=artifacts`, {}, async (page) => {
    await page.getByText("out/version").first().waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).first().click();
    assert.match((await download).suggestedFilename(), /\.tar(\.zst)?$/);
  }));

test("a job shows its log", () =>
  on(`/executions/${failed}/jobs/unit`, {}, async (page) => {
    await page.getByRole("heading", { name: "unit" }).waitFor();
    await page.locator(".log-row", { hasText: "running 48 tests" }).first().waitFor();
  }));

test("unknown ids and pages say so", async () => {
  await on("/executions/01a22a04-0000-7000-8000-000000000000", {}, async (page) => {
    await page.getByRole("alert").waitFor();
    await page.getByRole("heading", { level: 1, name: "There is no such execution" }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0);
    await page.getByRole("main").getByRole("link", { name: "Executions" }).click();
    await page.getByRole("heading", { level: 1, name: "Executions" }).waitFor();
  });
  await on(`/executions/${failed}/jobs/nothing`, {}, async (page) => {
    await page.getByText("has no job “nothing”").waitFor();
  });
});

test("the pages fit a phone", async () => {
  for (const path of [
    "/",
    "/executions",
    `/executions/${failed}`,
    `/executions/${failed}?view=timeline`,
    "/start",
    "/start?from=file",
  ]) {
    await on(path, { width: 390, height: 800 }, async (page) => {
      await loaded(page);
      const widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]");
      assert.ok(widths[0] <= widths[1], `${path}: ${widths}`);
      // A name of a view is one line.
      const heights = await page
        .locator(".tabs nav a")
        .evaluateAll((all) => all.map((one) => one.offsetHeight));
      assert.ok(Math.max(0, ...heights) < 50, `${path}: ${heights}`);
    });
  }
});

test("the pages of administration show their lists", async () => {
  await world.api.createToken("listed", ["read"]);
  await on("/settings/tokens", {}, (page) => page.getByText("listed").waitFor());
  await on("/settings/audit", {}, (page) => page.locator("tbody tr").first().waitFor());
  await on("/settings/repositories", {}, (page) => page.getByText("No repository is registered").waitFor());
  await on("/settings/dead-letters", {}, (page) => page.getByText("There are no dead letters").waitFor());
  const repo = encodeURIComponent("https://git.example.org/harbour/mill.git");
  await on(`/settings/secrets?repo=${repo}`, {}, (page) => page.getByText("There are none").waitFor());
  await on(`/settings/environments?repo=${repo}`, {}, (page) =>
    page.getByText("No job of this repository").waitFor(),
  );
});

test("insights show durations and failures", () =>
  on("/insights?repo=https://git.example.org/harbour/mill.git", {}, async (page) => {
    await page.getByRole("region", { name: "Pipeline delivery" }).getByText("100 %").first().waitFor();
  }));

test("insights begin with the pipeline that ran last", () =>
  on("/insights", {}, async (page) => {
    const first = page.getByRole("region", { name: /^Pipeline / }).first();
    await first.waitFor();
    const latest = (await world.api.call("/api/overview")).repositories[0].recent[0];
    assert.equal(await first.getAttribute("aria-label"), `Pipeline ${latest.pipeline_name}`);
  }));

test("home shows pushes whose pipeline files have mistakes", async () => {
  const { page, problems, close } = await world.open("/settings/nothing-here");
  const { execution } = await world.api.status(failed);
  const broken = { ...execution, kind: "discover_pipelines", pipeline_name: "discover", branch: "broken" };
  await page.route("**/api/overview", async (route) => {
    const reply = await route.fetch();
    return route.fulfill({ json: { ...(await reply.json()), failed_discoveries: [broken] } });
  });
  await page.goto(world.url);
  const row = page.getByRole("region", { name: "Pipeline files with mistakes" }).locator(".execution-row");
  await row.getByText("broken").waitFor();
  assert.match(await row.getAttribute("href"), new RegExp(`/executions/${failed}$`));
  assert.deepEqual(problems, []);
  await close();
});

test("the worker of the server is listed", () =>
  on("/workers", {}, async (page) => {
    await page
      .getByRole("cell", { name: /idle|busy/ })
      .first()
      .waitFor();
  }));
