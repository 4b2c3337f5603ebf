// Long lists and wide executions: what is on the page stays small, and it answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const ROWS = 10_000;
let world;

before(async () => {
  world = await start();
});

after(() => world?.stop());

/** Replies to the list of executions with many copies of one. */
async function serveManyRows(page, sample) {
  await page.route("**/api/pipeline/executions?*", (route) => {
    const query = new URL(route.request().url()).searchParams;
    const first = Number(query.get("cursor") ?? 0);
    const limit = Number(query.get("limit") ?? 50);
    const executions = Array.from({ length: Math.min(limit, ROWS - first) }, (_, at) => ({
      ...sample,
      // Ids are ordered by time, the newest first.
      id: `ffffffff-ffff-7fff-8fff-${String(ROWS - first - at).padStart(12, "0")}`,
      run_number: ROWS - first - at,
    }));
    const next = first + limit;
    return route.fulfill({ json: { executions, next_cursor: next < ROWS ? String(next) : null } });
  });
}

test("a list of 10,000 executions has few rows on the page, and answers", async () => {
  const id = await world.api.start(pipelines.checks("many"));
  const { execution } = await world.api.ended(id, 120);
  const { page, problems, close } = await world.open("/settings/tokens");
  await serveManyRows(page, execution);
  await page.getByRole("link", { name: "Executions" }).click();
  await page.locator(".execution-row").first().waitFor();
  const shown = page.locator(".page-head .number");
  while (!(await shown.textContent()).startsWith(`${ROWS} `)) {
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
    await page.waitForTimeout(20);
  }
  await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
  await page.locator(`li[aria-posinset="${ROWS}"]`).waitFor();
  assert.ok((await page.locator(".execution-row").count()) < 100);
  await page.evaluate("scrollTo(0, 300000)");
  await page.locator('li[aria-posinset="5000"]').waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("more than 200 jobs are folded, and open at once", async () => {
  const id = await world.api.start(pipelines.wide());
  const { page, problems, close } = await world.open(`/executions/${id}`);
  await page.locator(".graph-node.folded").nth(2).waitFor();
  assert.ok((await page.locator(".graph-node").count()) <= 4);
  await page.locator(".fold", { hasText: "100 variants" }).first().click();
  assert.ok((await page.locator(".job-row").count()) > 100);
  await page.getByRole("link", { name: "Timeline" }).click();
  await page.locator(".timeline li").nth(99).waitFor();
  await page.getByText("waiting for a worker with never=true").first().waitFor();
  const others = page.getByRole("region", { name: "Not queued yet" });
  await others.getByText("waiting for the stages before").first().waitFor();
  await others.getByText("waiting for approval").first().waitFor({ state: "attached" });
  assert.deepEqual(problems, []);
  await close();
  await world.api.post(`/api/pipeline/cancel/${id}`);
});
