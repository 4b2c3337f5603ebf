// What executions leave: tests, coverage, the pipeline file, and statistics.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const repo = "https://git.example.org/harbour/mill.git";
let world;
let measured;

before(async () => {
  world = await start();
  measured = await world.api.start(pipelines.measured());
  await world.api.ended(measured, 120);
});

after(() => world?.stop());

const on = (path, options, steps) => world.visit(path, options, steps);

test("flaky tests and the coverage of a job are shown", () =>
  on(`/executions/${measured}?view=tests`, {}, async (page) => {
    const job = page.getByRole("region", { name: "Tests of unit" });
    await job.getByRole("heading", { name: "Flaky" }).waitFor();
    await job.locator("summary", { hasText: "opens slowly" }).waitFor();
    await job.getByText("waited for the tide").waitFor();
    await job.getByText("87.5 %").waitFor();
    assert.equal(await job.getByRole("heading", { name: "Failed" }).count(), 0);
  }));

test("a test shows what it did in the executions before", async () => {
  const branch = "history";
  const ids = [];
  for (const shaky of [true, false, true]) {
    const id = await world.api.start(pipelines.failing(shaky), { branch });
    await world.api.ended(id, 120);
    ids.push(id);
  }
  await on(`/executions/${ids[2]}?view=tests`, {}, async (page) => {
    await page.getByRole("button", { name: "Show how these tests did before" }).click();
    await page.getByText("failed in 1 of 2 before").waitFor();
    const before = page.getByRole("list", { name: /^Earlier executions of closes/ }).getByRole("link");
    assert.equal(await before.nth(0).getAttribute("aria-label"), "#1: failed");
    assert.equal(await before.nth(1).getAttribute("aria-label"), "#2: did not fail");
    await before.nth(1).click();
    await page.getByText("#2", { exact: true }).waitFor();
    assert.match(page.url(), new RegExp(`/executions/${ids[1]}\\?view=tests$`));
  });
});

test("the pipeline file is shown as it was, with the jobs that rules left out", async () => {
  const id = await world.api.start(pipelines.withRules(), { variables: { TIDE: "spring" } });
  await on(`/executions/${id}`, {}, async (page) => {
    await page.getByRole("link", { name: "pipeline file", exact: true }).click();
    const left = page.getByRole("region", { name: "Jobs left out" }).locator("tbody tr");
    await left.getByText("release", { exact: true }).waitFor();
    assert.match(await left.locator("td").nth(1).textContent(), /\w+/);
    const text = await page.getByLabel("Text of the pipeline file").textContent();
    assert.equal(text.trim(), pipelines.withRules().trim());
    const variable = page.getByRole("region", { name: "Variables" }).locator("tbody tr", { hasText: "TIDE" });
    await variable.getByText("spring").waitFor();
    assert.match(page.url(), /\?view=pipeline$/);
  });
});

test("annotations are listed by file, failures first, with the summaries of jobs as Markdown", async () => {
  const id = await world.api.start(pipelines.annotated());
  await world.api.ended(id, 120);
  await on(`/executions/${id}`, {}, async (page) => {
    await page.getByRole("link", { name: "Summary" }).click();
    const annotations = page.getByRole("region", { name: "Annotations" });
    await annotations.getByText("the gate does not open").waitFor();
    assert.deepEqual(await annotations.locator("h3").allTextContents(), ["src/gate.rs", "src/gauge.rs"]);
    await annotations.getByText("1 failure, 1 warning").waitFor();
    const summary = page.getByRole("region", { name: "Summary of lint" });
    await summary.getByRole("cell", { name: "open" }).locator("strong").waitFor();
    assert.equal(await summary.locator("script").count(), 0);
    assert.doesNotMatch(await page.title(), /changed/);
    assert.equal(await page.getByRole("region", { name: "Summary of quiet" }).count(), 0);
    await annotations.getByRole("link", { name: "lint" }).first().click();
    await page.getByRole("heading", { level: 1, name: "lint" }).waitFor();
  });
});

test("texts, images and reports of artifacts are shown, a report without the page's rights", async () => {
  const id = await world.api.start(pipelines.reported());
  await world.api.ended(id, 120);
  await on(`/executions/${id}?view=artifacts`, {}, async (page) => {
    const show = async (path, check) => {
      await page.getByRole("button", { name: path, exact: true }).click();
      const dialog = page.getByRole("dialog", { name: path });
      await check(dialog);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
    };
    await show("out/coverage.txt", (dialog) => dialog.getByText("12 of 14 lines").waitFor());
    await show("out/gauge.svg", async (dialog) => {
      const image = dialog.getByRole("img", { name: "out/gauge.svg" });
      await image.waitFor();
      const isDrawn = (one) => one.decode().then(() => one.naturalWidth === 20);
      assert.ok(await image.evaluate(isDrawn));
    });
    await show("out/html/index.html", async (dialog) => {
      const frame = dialog.frameLocator("iframe");
      await frame.getByText("Coverage of the gate").waitFor();
      await frame.getByText("written by a script").waitFor();
      await frame.getByText("kept out").waitFor();
      assert.equal(await dialog.locator("iframe").getAttribute("sandbox"), "allow-scripts");
    });
    assert.equal(await page.title(), "reported #1 succeeded · Tidemill");
    assert.equal(await page.getByRole("button", { name: "out/unknown.bin" }).count(), 0);
    const saved = async (button) => {
      const download = page.waitForEvent("download");
      await button.click();
      return (await download).suggestedFilename();
    };
    const row = page.getByRole("row", { name: /coverage\.txt/ });
    assert.equal(await saved(row.getByRole("button", { name: "Save" })), "coverage.txt");
    assert.match(await saved(page.getByRole("button", { name: "Download all" })), /^artifacts-.*\.tar$/);
  });
});

test("insights show flaky tests, the trend of the coverage, and the cost", async () => {
  const { page, problems, close } = await world.open("/");
  await page.route("**/api/insights?*", async (route) => {
    const reply = await route.fetch();
    const insights = await reply.json();
    const day = (back) => new Date(Date.now() - back * 86_400_000).toISOString();
    const flaky = {
      job_name: "unit",
      suite: "gate",
      name: "opens slowly",
      count: 3,
      last_execution: measured,
    };
    Object.assign(insights.pipelines[0], {
      flaky_tests: [flaky],
      coverage: [
        { day: day(9), percent: 81 },
        { day: day(4), percent: 84.5 },
        { day: day(1), percent: 87.5 },
      ],
      cost_usd: 1.238,
    });
    await route.fulfill({ json: insights });
  });
  await page.goto(`${world.url}/insights?repo=${encodeURIComponent(repo)}`);
  const pipeline = page.getByRole("region", { name: /^Pipeline / }).first();
  await pipeline.getByText("$1.24").waitFor();
  await pipeline.getByText(/Coverage 87.5 %, \+6.5 since/).waitFor();
  assert.match(
    await pipeline.locator(".coverage-trend path").getAttribute("d"),
    /^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+){2}$/,
  );
  const row = pipeline.getByRole("region", { name: /Flaky tests of/ }).locator("tbody tr");
  await row.getByText("opens slowly").waitFor();
  await row.getByRole("link", { name: "show" }).click();
  await page.getByRole("region", { name: "Tests of unit" }).waitFor();
  assert.deepEqual(problems, []);
  await close();
});
