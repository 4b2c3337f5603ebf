// A server with a browser, for tests and screenshots.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Api } from "./api.mjs";
import { serve } from "./serve.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = process.env.TIDEMILL_BINARY ?? join(root, "target/debug/tidemill");
export const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const STOP_MS = 20_000;
const START_MS = 60_000;
/** How long a page may take to show something. Machines that run tests are busy. */
const TIMEOUT_MS = 45_000;

/** A port of this machine that nothing uses. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function startServer(directory, port, further) {
  const options = [
    "--listen",
    `127.0.0.1:${port}`,
    "--data-dir",
    directory,
    "--isolate",
    "off",
    "--jobs",
    "2",
  ];
  const server = spawn(binary, ["server", ...options, "--rate-limit", "0", ...further], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const hasEnded = () => server.pid === undefined || server.exitCode !== null || server.signalCode !== null;
  const stop = () =>
    new Promise((resolve) => {
      if (hasEnded()) {
        resolve();
        return;
      }
      const timer = setTimeout(() => server.kill("SIGKILL"), STOP_MS);
      server.on("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      server.kill("SIGTERM");
    });
  let output = "";
  let timer;
  const printed = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${binary} did not print its address: ${output}`)), START_MS);
    const read = (bytes) => {
      output += bytes;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
      if (found !== null) resolve(found[0]);
    };
    server.stdout.on("data", read);
    server.stderr.on("data", read);
    server.on("error", reject);
    server.on("exit", (code) => reject(new Error(`${binary} ended with ${code}: ${output}`)));
  });
  try {
    return { address: await printed, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits until an expression is true in the page. Playwright's `waitForFunction` repeats it in the page by `eval`, which
 * the page's policy forbids; this asks through the browser's own channel each time.
 */
export async function waitUntil(page, expression, argument) {
  const end = Date.now() + TIMEOUT_MS;
  while (!(await page.evaluate(expression, argument))) {
    if (Date.now() > end) throw new Error(`this did not become true: ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until a page has a heading and has loaded what it shows. */
export async function loaded(page) {
  await page.getByRole("heading", { level: 1 }).waitFor();
  await waitUntil(page, "!document.querySelector('main').textContent.includes('Loading…')");
}

/**
 * Starts a server with a data directory of its own, and a browser. The pages are at `port`; 0 stands for any free one.
 * `options` are further options of the server.
 */
export async function start({ port = 0, options = [] } = {}) {
  const directory = await mkdtemp(join(tmpdir(), "tidemill-browser-test-"));
  let server;
  let front = null;
  let browser;
  /** Ends what was started, the last first, and removes the directory. */
  const stop = async () => {
    try {
      await browser?.close();
      front?.close();
    } finally {
      await server?.stop();
      await rm(directory, { recursive: true, force: true });
    }
  };
  try {
    // With TIDEMILL_WEB_DIST=1, web/dist is tested as it is, without a build of the server that has it.
    const hasFront = process.env.TIDEMILL_WEB_DIST === "1";
    server = await startServer(directory, hasFront ? 0 : port, options);
    const token = (await readFile(join(directory, "token"), "utf8")).trim();
    if (hasFront) front = await serve(server.address, port);
    browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
    const url = front === null ? server.address : front.url;
    return world({ url, token, api: new Api(server.address, token), browser, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

function world({ url, token, api, browser, stop }) {
  return {
    url,
    token,
    api,
    stop,

    /** Opens a page in a window of its own. `problems` collects what the page prints and throws. */
    async open(path, { signIn = token, width = 1280, height = 860, scheme = "light", context = {} } = {}) {
      const size = { width, height };
      const window = await browser.newContext({
        viewport: size,
        colorScheme: scheme,
        reducedMotion: "reduce",
        ...context,
      });
      if (signIn !== null) {
        await window.addInitScript((value) => {
          // The frame of a report has no storage.
          if (window !== window.top || sessionStorage.getItem("tidemill-test") !== null) return;
          sessionStorage.setItem("tidemill-test", "");
          sessionStorage.setItem("tidemill-token", value);
        }, signIn);
      }
      const page = await window.newPage();
      page.setDefaultTimeout(TIMEOUT_MS);
      const problems = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => {
        // Replies with an error are shown by the page, and printed by the browser as well.
        if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
          problems.push(message.text());
      });
      await page.goto(url + path);
      return { page, problems, close: () => window.close() };
    },

    /** Opens a page, runs the steps, and requires that the page had no problem. */
    async visit(path, options, steps) {
      const { page, problems, close } = await this.open(path, options);
      try {
        await steps(page);
        assert.deepEqual(problems, []);
      } finally {
        await close();
      }
    },
  };
}
