// Insights over executions that really ran: what the page shows is compared with what they did.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { findings } from "./axe.mjs";
import { start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const repo = "https://git.example.org/harbour/lock.git";
/** Durations are counted in ranges, whose middle is shown. */
const TOLERANCE = 0.15;
/** Durations are shown with one digit after the point. */
const ROUNDING = 0.1;
let world;
/** The executions as they ended, in the order of their start. */
let ended;

before(async () => {
  world = await start();
  const all = [{}, { fails: true }, { shaky: true }, {}];
  // More jobs than the server runs at the same time, so that some wait.
  const ids = await Promise.all(
    all.map((kind, at) =>
      world.api.start(pipelines.statistics(kind), { repo, commit: String(at + 1).repeat(40) }),
    ),
  );
  ended = await Promise.all(ids.map((id) => world.api.ended(id, 180)));
});

after(() => world?.stop());

const on = (steps, query = "") =>
  world.visit(`/insights?repo=${encodeURIComponent(repo)}${query}`, {}, async (page) => {
    const pipeline = page.getByRole("region", { name: "Pipeline statistics", exact: true });
    await pipeline.waitFor();
    await steps(pipeline, page);
  });

const timeOf = (text) => Date.parse(text) / 1000;

/** The seconds of a duration as the page writes it. */
function seconds(text) {
  const parts = /^(?:(\d+)m)?([\d.]+)s$/.exec(text.trim());
  assert.notEqual(parts, null, `a duration, not ${text}`);
  return Number(parts[1] ?? 0) * 60 + Number(parts[2]);
}

/** Requires that a shown duration is within those that were measured. */
function assertWithin(shown, measured) {
  const [shortest, longest] = [Math.min(...measured), Math.max(...measured)];
  const is = seconds(shown);
  assert.ok(
    is >= shortest * (1 - TOLERANCE) - ROUNDING && is <= longest * (1 + TOLERANCE) + ROUNDING,
    `${shown} is not between ${shortest} and ${longest} seconds`,
  );
}

/** The value beside a name in the numbers of a pipeline. */
const number = (pipeline, name) =>
  pipeline.locator(".numbers > div", { has: pipeline.page().getByText(name, { exact: true }) }).locator("dd");

const jobsNamed = (name) => ended.flatMap(({ jobs }) => jobs.filter((job) => job.job_name === name));

test("the numbers of a pipeline are those of its executions", () =>
  on(async (pipeline) => {
    const statuses = ended.map(({ execution }) => execution.status);
    assert.deepEqual(statuses, ["SUCCESS", "FAILED", "SUCCESS", "SUCCESS"]);
    assert.equal(await number(pipeline, "executions").textContent(), "4");
    assert.equal(await number(pipeline, "failure rate").textContent(), "25 %");
    assert.equal(await number(pipeline, "more attempts").textContent(), "1");
    const durations = ended.map(({ execution }) => timeOf(execution.end_time) - timeOf(execution.start_time));
    assertWithin(await number(pipeline, "median").textContent(), durations);
    assertWithin(await number(pipeline, "95th percentile").textContent(), durations);
    const waits = ended.map(({ execution }) => timeOf(execution.start_time) - timeOf(execution.created_at));
    assertWithin(await number(pipeline, "median wait").textContent(), waits);
    const days = pipeline.getByRole("list", { name: "Executions by day" });
    await days.getByText(/: 4 executions, 1 failed, median /).waitFor({ state: "attached" });
    assert.equal(await days.locator("li").count(), 30);
  }));

test("the jobs are listed with their failures, attempts and waits, the slowest first", () =>
  on(async (pipeline, page) => {
    await pipeline.getByText("Jobs, the slowest first").click();
    const table = pipeline.getByRole("region", { name: "Jobs of statistics" });
    const heads = await table.locator("thead th").allTextContents();
    const cell = (job, column) =>
      table.locator("tbody tr", { hasText: job }).locator("td").nth(heads.indexOf(column)).textContent();
    for (const [job, rate, attempts] of [
      ["gate", "25 %", "0"],
      ["unit", "0 %", "1"],
      ["format", "0 %", "0"],
    ]) {
      assert.equal(await cell(job, "Runs"), "4", job);
      assert.equal(await cell(job, "Failure rate"), rate, job);
      assert.equal(await cell(job, "More attempts"), attempts, job);
    }
    const ran = jobsNamed("gate").map((job) => timeOf(job.end_time) - timeOf(job.start_time));
    assert.ok(Math.min(...ran) >= 1, "it sleeps for a second");
    assertWithin(await cell("gate", "Median"), ran);
    assertWithin(await cell("gate", "95th percentile"), ran);
    const waited = jobsNamed("format").map((job) => timeOf(job.start_time) - timeOf(job.queued_at));
    assertWithin(await cell("format", "Median wait"), waited);
    const medians = await table
      .locator("tbody tr")
      .evaluateAll(
        (rows, at) => rows.map((row) => row.querySelectorAll("td")[at].textContent),
        heads.indexOf("Median"),
      );
    const sorted = medians.map(seconds);
    assert.deepEqual(
      sorted,
      [...sorted].sort((a, b) => b - a),
    );
    assert.deepEqual(await findings(page), []);
  }));

test("the flakiest test comes first, and leads to the execution in which it was flaky last", () =>
  on(async (pipeline, page) => {
    const rows = pipeline.getByRole("region", { name: "Flaky tests of statistics" }).locator("tbody tr");
    const flaky = await rows.evaluateAll((all) =>
      all.map((row) => [...row.querySelectorAll("td")].slice(0, 3).map((one) => one.textContent.trim())),
    );
    assert.deepEqual(flaky, [
      ["gate opens slowly", "unit", "4"],
      // It failed in the first attempt, and passed in the second.
      ["gate closes", "unit", "1"],
    ]);
    await rows.nth(1).getByRole("link", { name: "show" }).click();
    await page.getByRole("region", { name: "Tests of unit" }).getByText("closes").first().waitFor();
    assert.match(page.url(), new RegExp(`/executions/${ended[2].execution.id}\\?view=tests$`));
  }));

test("another range of days and another repository have their own numbers", () =>
  on(async (pipeline, page) => {
    await page.getByLabel("Days").selectOption("7");
    await page.waitForURL(/days=7/);
    const days = pipeline.getByRole("list", { name: "Executions by day" });
    await days.getByText(/: 4 executions, 1 failed/).waitFor({ state: "attached" });
    await days.locator("li").nth(7).waitFor({ state: "detached" });
    assert.equal(await days.locator("li").count(), 7);
    await page.getByLabel("Repository").fill("https://git.example.org/harbour/empty.git");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("No execution of this repository ended in these days.").waitFor();
  }));
