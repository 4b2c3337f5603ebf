// Checks every page with axe, in light and dark, on a desktop and a phone; and that keys alone reach everything.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { findings } from "./axe.mjs";
import { loaded, start } from "./browser.mjs";
import * as pipelines from "./pipelines.mjs";

const repo = encodeURIComponent("https://git.example.org/harbour/mill.git");
let world;
let id;

before(async () => {
  world = await start();
  id = await world.api.start(pipelines.delivery(true), {
    commit_details: { message: "Close the gate", author: "M <m@x>" },
  });
  await world.api.ended(id, 120);
});

after(() => world?.stop());

const paths = () => [
  "/",
  "/executions",
  `/executions/${id}`,
  `/executions/${id}?view=timeline`,
  `/executions/${id}?view=tests`,
  `/executions/${id}?view=artifacts`,
  `/executions/${id}/jobs/unit`,
  "/start",
  "/start?from=file",
  `/insights?repo=${repo}`,
  "/workers",
  "/settings/repositories",
  `/settings/secrets?repo=${repo}`,
  "/settings/tokens",
  "/settings/audit",
  "/settings/roles",
  "/settings/disk",
  "/settings/account",
  "/nothing-here",
];

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    test(`axe has no findings: ${scheme}, ${width} pixels`, async () => {
      for (const path of paths()) {
        const { page, close } = await world.open(path === "/nothing-here" ? "/settings/nothing-here" : path, {
          scheme,
          width,
        });
        await loaded(page);
        assert.deepEqual(await findings(page), [], path);
        await close();
      }
      const { page, close } = await world.open("/", { scheme, width, signIn: null });
      await page.getByRole("heading", { level: 1 }).waitFor();
      assert.deepEqual(await findings(page), [], "sign-in");
      await close();
    });
  }
}

test("the palette and the help have no findings", async () => {
  const { page, close } = await world.open("/executions");
  await page.locator(".execution-row").first().waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("listbox", { name: "Results" }).getByRole("option").first().waitFor();
  assert.deepEqual(await findings(page), []);
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  assert.deepEqual(await findings(page), []);
  await close();
});

test("the first key of a page skips to its content", async () => {
  const { page, close } = await world.open("/executions");
  await page.locator(".execution-row").first().waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate("document.activeElement.textContent"), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate("document.activeElement.id"), "main");
  await close();
});
