// Measures pages with Lighthouse on a throttled connection, several times each, and fails when a median misses its limit.
//
//   node measure.mjs [RUNS [PAGE...]]    PAGE: home, executions, execution, log; all of them by default
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import lighthouse, { desktopConfig } from "lighthouse";
import { chromium } from "playwright-core";
import { browserPath, freePort, start } from "../tests/browser.mjs";
import * as pipelines from "../tests/pipelines.mjs";

const RUNS = Number(process.argv[2] ?? 5);
const CHOSEN = process.argv.slice(3);
const MAX_ATTEMPTS = 3;
const MIN_SCORE = 95;
const MAX_INTERACTIVE_MS = 1000;
const MAX_FIRST_LOAD = 120 * 1024;
// A phone: slow 4G and a quarter of the processor. A desktop: 10 Mbit/s, 40 ms round trip.
const DEVICES = { phone: undefined, desktop: desktopConfig };

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const METRICS = [
  "first-contentful-paint",
  "largest-contentful-paint",
  "speed-index",
  "total-blocking-time",
  "cumulative-layout-shift",
];

/** A report on a page that is not in the browser's cache. What Lighthouse could not record is recorded again. */
async function report(url, config, port, devtools) {
  const flags = {
    port,
    output: "json",
    onlyCategories: ["performance", "accessibility"],
    // The token is in the storage.
    disableStorageReset: true,
  };
  for (let attempt = 1; ; attempt += 1) {
    await devtools.send("Network.clearBrowserCache");
    const { lhr } = await lighthouse(url, flags, config);
    if (lhr.runtimeError === undefined) return lhr;
    if (attempt === MAX_ATTEMPTS) throw new Error(`${url}: ${lhr.runtimeError.message}`);
    console.error(`${url}: ${lhr.runtimeError.message}`);
  }
}

/** One run: scores, times and what was transferred. */
async function measure(...of) {
  const { categories, audits } = await report(...of);
  const failed = Object.values(audits).filter(({ score, scoreDisplayMode }) => {
    return scoreDisplayMode === "binary" && score !== null && score < 1;
  });
  const requests = audits["network-requests"].details.items;
  return {
    performance: 100 * categories.performance.score,
    accessibility: 100 * categories.accessibility.score,
    interactive: audits.interactive.numericValue,
    painted: audits["first-contentful-paint"].numericValue,
    assets: requests
      .filter((one) => !new URL(one.url).pathname.includes("/api/"))
      .reduce((sum, one) => sum + one.transferSize, 0),
    failed: failed.map(({ id }) => id),
    metrics: METRICS.map((id) => `${id} ${audits[id].displayValue} (${audits[id].score})`),
  };
}

const profile = await mkdtemp(join(tmpdir(), "tidemill-lighthouse-"));
const world = await start();
let browser;
try {
  const id = await world.api.start(pipelines.delivery(true), {
    commit_details: { message: "Close the gate", author: "M <m@x>" },
  });
  await world.api.ended(id, 120);
  const port = await freePort();
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: browserPath,
    args: ["--no-sandbox", `--remote-debugging-port=${port}`],
  });
  const page = await browser.newPage();
  const devtools = await browser.newCDPSession(page);
  const problems = [];
  const pages = {
    home: "/",
    executions: "/executions",
    execution: `/executions/${id}`,
    log: `/executions/${id}/jobs/unit`,
  };
  await page.goto(world.url);
  await page.evaluate((token) => localStorage.setItem("tidemill-token", token), world.token);
  console.log("page        device   performance  accessibility  painted  interactive  first load");
  const measured = Object.entries(pages).filter(([name]) => CHOSEN.length === 0 || CHOSEN.includes(name));
  for (const [name, path] of measured) {
    for (const [device, config] of Object.entries(DEVICES)) {
      const samples = [];
      for (let run = 0; run < RUNS; run += 1)
        samples.push(await measure(world.url + path, config, port, devtools));
      const of = (key) => median(samples.map((one) => one[key]));
      const [performance, accessibility] = [of("performance"), of("accessibility")];
      const [interactive, assets] = [of("interactive"), of("assets")];
      console.log(
        name.padEnd(12) +
          device.padEnd(9) +
          performance.toFixed(0).padStart(11) +
          accessibility.toFixed(0).padStart(15) +
          `${of("painted").toFixed(0)} ms`.padStart(9) +
          `${interactive.toFixed(0)} ms`.padStart(13) +
          `${(assets / 1024).toFixed(1)} KiB`.padStart(12),
      );
      const failed = [...new Set(samples.flatMap((one) => one.failed))].join(", ");
      const where = `${name}, ${device}`;
      const metrics = samples.find((one) => one.performance === performance).metrics.join(", ");
      if (performance < MIN_SCORE)
        problems.push(`${where}: performance ${performance}, limit ${MIN_SCORE}: ${metrics}`);
      if (accessibility < MIN_SCORE)
        problems.push(`${where}: accessibility ${accessibility}, limit ${MIN_SCORE}: ${failed}`);
      if (device === "desktop" && interactive > MAX_INTERACTIVE_MS)
        problems.push(`${where}: interactive after ${interactive} ms, limit ${MAX_INTERACTIVE_MS}`);
      if (assets > MAX_FIRST_LOAD)
        problems.push(`${where}: first load ${assets} bytes, limit ${MAX_FIRST_LOAD}`);
    }
  }
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
} finally {
  await browser?.close();
  await world.stop();
  await rm(profile, { recursive: true, force: true });
}
