// The log of a job: what it shows, where it opens, how one moves in it, and how it copes with size.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { start, waitUntil } from "./browser.mjs";
import * as pipelines from "./log_pipelines.mjs";

const LINES = Number(process.env.TIDEMILL_TEST_LOG_LINES ?? 500_000);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let world;

before(async () => {
  world = await start();
});

after(() => world?.stop());

async function ended(pipeline) {
  const id = await world.api.start(pipeline);
  await world.api.ended(id, 300);
  return id;
}

const pathOf = (id, fragment = "") => `/executions/${id}/jobs/job${fragment}`;
const row = (page, text) => page.locator(".log-row", { hasText: text });

/** What is visible of the log: numbers and texts of the first and the last row, and whether it is at its end. */
const view = (page) =>
  page.evaluate(() => {
    const scroller = document.querySelector(".log-scroller");
    if (scroller === null) return { first: {}, last: {}, drawn: 0 };
    const frame = scroller.getBoundingClientRect();
    const rows = [...scroller.querySelectorAll(".log-row")].filter((one) => {
      const { top, bottom } = one.getBoundingClientRect();
      return bottom > frame.top + 1 && top < frame.bottom - 1;
    });
    const of = (one) => ({
      number: one?.querySelector(".log-number")?.dataset.number,
      text: one?.querySelector(".log-text")?.textContent,
    });
    return { first: of(rows[0]), last: of(rows.at(-1)), drawn: scroller.querySelectorAll(".log-row").length };
  });

/** Waits until what is visible is as expected. */
async function until(page, condition) {
  const end = Date.now() + 20_000;
  for (;;) {
    const seen = await view(page);
    if (condition(seen)) return seen;
    if (Date.now() > end) throw new Error(`the log does not show what is expected: ${JSON.stringify(seen)}`);
    await page.waitForTimeout(50);
  }
}

test("a failed job opens at its failing command, with what succeeded folded", async () => {
  const { page, problems, close } = await world.open(pathOf(await ended(pipelines.failing())));
  await row(page, "test 100 ok").waitFor();
  await page.locator(".log-sticky .failed", { hasText: "exit code 7" }).waitFor();
  assert.equal(await row(page, "prepared 1").count(), 0);
  await page.getByRole("button", { name: "First error" }).click();
  await page.locator(".log-row.current", { hasText: "error: gate closes at low water" }).waitFor();
  await page.getByRole("button", { name: "Start" }).click();
  const header = page.getByRole("button", { name: /Command for i in \$\(seq 60\)/ });
  assert.equal(await header.getAttribute("aria-expanded"), "false");
  await header.click();
  await row(page, "prepared 5").first().waitFor();
  await page.getByRole("button", { name: "Fold all", exact: true }).click();
  await until(page, ({ last }) => last.text === "$ echo cleaned up");
  await page.getByLabel("Go to a command or service").selectOption({ index: 2 });
  await row(page, "test 1 ok").waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("styles, overwritten text and links are as in a terminal, and nothing becomes markup", async () => {
  const { page, problems, close } = await world.open(pathOf(await ended(pipelines.terminal())));
  const green = page.locator(".log-text .bold", { hasText: "green" }).last();
  assert.match(await green.getAttribute("style"), /--log-colour-2/);
  const texts = await page.locator(".log-row:not(.log-command) .log-text").allTextContents();
  for (const text of ["100 %", "aXc", "charset done", "<img src=x onerror=alert(1)><b>bold</b>", "no link"])
    assert.ok(texts.includes(text), `${text} in ${JSON.stringify(texts)}`);
  const link = page.getByRole("link", { name: "the report" });
  assert.equal(await link.getAttribute("href"), "https://example.org/report");
  assert.match(await link.getAttribute("rel"), /noopener/);
  assert.equal(await page.locator(".log-scroller img, .log-scroller b").count(), 0);
  assert.equal(await page.locator('.log-scroller a[href^="javascript"]').count(), 0);
  const group = page.getByRole("button", { name: "Group Install packages" });
  assert.equal(await group.getAttribute("aria-expanded"), "false");
  assert.equal(await row(page, "package 2").count(), 0);
  await page.locator(".log-header", { hasText: "12s" }).waitFor();
  await group.click();
  await row(page, /^package 2$/).waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("lines and ranges have addresses that open them, also in folded commands", async () => {
  const id = await ended(pipelines.failing());
  const { page, close } = await world.open(pathOf(id));
  await row(page, "test 100 ok").waitFor();
  await page.getByRole("button", { name: "Unfold all" }).click();
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("link", { name: "Line 3", exact: true }).click();
  await page.getByRole("link", { name: "Line 6", exact: true }).click({ modifiers: ["Shift"] });
  assert.match(page.url(), /#L3-L6$/);
  assert.equal(await page.locator(".log-row.selected").count(), 4);
  await close();

  const other = await world.open(pathOf(id, "#L40-L42"));
  await other.page.locator(".log-row.selected", { hasText: "prepared 39" }).waitFor();
  assert.equal(await other.page.locator(".log-row.selected").count(), 3);
  await other.close();
});

test("a running job's log is followed until the reader scrolls up", async () => {
  const id = await world.api.start(pipelines.ticking(30));
  const { page, problems, close } = await world.open(pathOf(id));
  await row(page, "tick 40").waitFor({ timeout: 60_000 });
  await until(page, ({ last }) => Number(last.number) > 41);
  await page.locator(".log-scroller").hover();
  await page.mouse.wheel(0, -300);
  await page.getByRole("button", { name: "Follow", pressed: false }).waitFor();
  const { first } = await view(page);
  await waitUntil(
    page,
    (before) => document.querySelector(".log-scroller").scrollHeight > before + 200,
    await page.evaluate("document.querySelector('.log-scroller').scrollHeight"),
  );
  assert.equal((await view(page)).first.number, first.number);
  await page.getByRole("button", { name: "Follow" }).click();
  const { last } = await view(page);
  await until(page, (now) => Number(now.last.number) > Number(last.number));
  await page.getByLabel("Times of lines").selectOption("clock");
  await page
    .locator(".log-time", { hasText: /^\d\d:\d\d:\d\d$/ })
    .first()
    .waitFor();
  assert.deepEqual(problems, []);
  await world.api.post(`/api/pipeline/cancel/${id}`);
  await close();
});

test("the log of a job that is retried goes on with the new attempt, and the old one stays", async () => {
  const id = await world.api.start(pipelines.twice());
  const { page, close } = await world.open(pathOf(id));
  await page.locator('.log[data-attempt="1"]').waitFor({ timeout: 60_000 });
  await row(page, "row 3").first().waitFor();
  await page.locator('.log[data-attempt="2"]').waitFor({ timeout: 60_000 });
  await row(page, "row 3").first().waitFor();
  await world.api.ended(id, 120);
  await page.goto(`${world.url}${pathOf(id)}?attempt=1`);
  await page.locator('.log[data-attempt="1"]').waitFor();
  await row(page, "row 40").waitFor();
  await close();
});

test("a job that has not started shows why, and its log begins by itself", async () => {
  const id = await world.api.start(
    pipelines
      .ticking(2)
      .replace("jobs:", "jobs:\n  first: { script: [sleep 3] }")
      .replace("  job:", "  job:\n    needs: [first]"),
  );
  const { page, close } = await world.open(pathOf(id));
  await page.getByText("The job has not started.").waitFor();
  await row(page, "tick 10").waitFor({ timeout: 60_000 });
  await close();
});

test("a long log opens at its end, is loaded on demand, and scrolls over all lines", async () => {
  const { page, problems, close } = await world.open(pathOf(await ended(pipelines.long(LINES))));
  await until(page, ({ last }) => last.text?.startsWith(`${LINES} `));
  // The worker's marks tell the numbers of lines before what is above them is read.
  await row(page, `${LINES} the`)
    .getByRole("link", { name: `Line ${LINES + 1}`, exact: true })
    .click();
  assert.match(page.url(), new RegExp(`#L${LINES + 1}$`));
  const address = page.url();
  await page.getByRole("button", { name: "Start" }).click();
  await until(page, ({ first }) => first.number === "1");
  await page.locator(".log-status").getByRole("button", { name: "Load all" }).click();
  await page
    .locator(".log-status", { hasText: `${(LINES + 1).toLocaleString("en")} lines` })
    .waitFor({ timeout: 120_000 });
  await until(page, ({ first }) => first.number === "1");

  const scroll = (part) =>
    page.evaluate((part) => {
      const scroller = document.querySelector(".log-scroller");
      scroller.scrollTop = (scroller.scrollHeight - scroller.clientHeight) * part;
    }, part);
  await scroll(0.5);
  const { first } = await until(page, (now) => Math.abs(Number(now.first.number) - LINES / 2) < 50);
  await page.locator(".log-scroller").hover();
  // Twenty pixels are one line, however long the log is.
  await page.mouse.wheel(0, 400);
  await until(page, (now) => Number(now.first.number) === Number(first.number) + 20);
  await scroll(1);
  const { last, drawn } = await until(page, (now) => now.last.number === String(LINES + 1));
  assert.equal(last.text, `${LINES} the mill turns while the tide comes in`);
  assert.ok(drawn < 150, `${drawn} rows are drawn`);

  await page.keyboard.press("/");
  await page.getByRole("searchbox").fill(`${LINES / 2} the mill`);
  const more = page.getByRole("button", { name: /Search the other/ });
  const found = page.locator(".log-row.current mark");
  await more.or(found).first().waitFor();
  if (await more.isVisible()) await more.click();
  await page.getByRole("button", { name: "Next match" }).click();
  await page.locator(".log-count", { hasText: /^1 of 1 lines$/ }).waitFor({ timeout: 120_000 });
  await until(
    page,
    (now) => Number(now.first.number) <= LINES / 2 + 1 && LINES / 2 + 1 <= Number(now.last.number),
  );
  assert.deepEqual(problems, []);
  await close();

  const other = await world.open(new URL(address).pathname + new URL(address).hash);
  await other.page.locator(".log-row.selected", { hasText: `${LINES} the mill` }).waitFor();
  await other.close();
});

test("search counts lines, marks them, and goes through them by keys", async () => {
  const { page, close } = await world.open(pathOf(await ended(pipelines.failing())));
  await row(page, "test 100 ok").waitFor();
  await page.locator(".log-scroller").focus();
  await page.keyboard.press("/");
  await page.getByRole("searchbox").fill("PREPARED 1");
  const count = page.locator(".log-count");
  await count.getByText("of 11 lines").waitFor();
  await page.keyboard.press("Enter");
  assert.ok((await page.locator(".log-row mark").count()) > 3);
  await page.getByRole("button", { name: "Match case" }).click();
  await count.getByText("No line").waitFor();
  await page.getByRole("button", { name: "Match case" }).click();
  await page.getByRole("button", { name: "Regular expression" }).click();
  await page.getByRole("searchbox").fill("test [13]00? ok");
  await count.getByText("of 3 lines").waitFor();
  await page.getByRole("searchbox").fill("(");
  await count.getByText(/regular expression/i).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("searchbox").count(), 0);
  await close();
});

test("what a reader chooses stays, and the log can be had whole", async () => {
  const id = await ended(pipelines.failing());
  const { page, problems, close } = await world.open(pathOf(id));
  await row(page, "test 100 ok").waitFor();
  await page.getByRole("button", { name: "Wrap" }).click();
  await page.getByRole("button", { name: "Numbers" }).click();
  await page.reload();
  await page.locator(".log.wraps.no-numbers").waitFor();
  await row(page, "test 100 ok").waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download the log" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "job-1.log");
  const text = await readFile(await download.path(), "utf8");
  assert.ok(text.startsWith("$ for i in") && text.endsWith("cleaned up\n"));
  const [tab] = await Promise.all([
    page.waitForEvent("popup"),
    page.getByRole("button", { name: "Raw log as plain text" }).click(),
  ]);
  await tab.getByText("test 100 ok").waitFor();
  assert.deepEqual(problems, []);
  await close();
});

test("the log of a service is a section of its own", async () => {
  const { page, close } = await world.open(pathOf(await ended(pipelines.withService())));
  await page.getByLabel("Go to a command or service").selectOption({ index: 1 });
  await row(page, "database is ready").waitFor();
  await close();
});

test("a token that may not read logs learns what it lacks", async () => {
  const id = await ended(pipelines.terminal());
  const { page, close } = await world.open("/");
  const detail = "this token has the scopes start; the operation requires one of read";
  await page.route("**/api/job/logs/**", (route) =>
    route.fulfill({
      status: 403,
      json: { type: "tidemill:forbidden", title: "Not allowed", status: 403, detail },
    }),
  );
  await page.goto(world.url + pathOf(id));
  await page.getByRole("alert").getByText(detail).waitFor();
  await page.getByRole("button", { name: "sign in with another token" }).waitFor();
  await close();
});

test("a log is accessible in light and dark, and fits a phone", async () => {
  const ids = [await ended(pipelines.failing()), await ended(pipelines.terminal())];
  for (const scheme of ["light", "dark"]) {
    for (const [width, id] of [
      [1280, ids[0]],
      [390, ids[1]],
    ]) {
      const { page, close } = await world.open(pathOf(id), { scheme, width });
      await page.locator(".log-row").first().waitFor();
      await page.getByRole("button", { name: "Unfold all" }).click();
      await page.evaluate(axe);
      const result = await page.evaluate(() => window.axe.run(".log"));
      const found = result.violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
      );
      assert.deepEqual(found, [], `${scheme} ${width}`);
      assert.ok(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"));
      await close();
    }
  }
});
