// Writes docs/ui/*.png: every page, with real executions. pngquant makes them a third of the size.
import { execFileSync } from "node:child_process";
import { mkdir, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { freePort, loaded, start } from "../tests/browser.mjs";
import * as pipelines from "../tests/pipelines.mjs";
import { CLIENT_ID, startProvider } from "../tests/provider.mjs";

const target = fileURLToPath(new URL("../../docs/ui/", import.meta.url));
const repositories = ["harbour/mill", "harbour/charts", "tools/sounder"].map(
  (name) => `https://git.example.org/${name}.git`,
);
const messages = [
  "Close the sluice before the tide turns",
  "Round the speed of the wheel",
  "Update the tide tables",
  "Move the gate into a crate of its own",
  "Add a smoke test of the pump",
  "Describe the harbour’s API",
  "Compact logs in one pass",
];
const authors = [
  "Mara Lindqvist <mara@example.org>",
  "Jonas Weber <jonas@example.org>",
  "Aiko Tanaka <aiko@example.org>",
];

function details(number) {
  const digit = (at) => ((number * 7 + at * 13 + number * at) % 16).toString(16);
  return {
    commit: Array.from({ length: 40 }, (_, at) => digit(at)).join(""),
    commit_details: { message: messages[number % messages.length], author: authors[number % authors.length] },
  };
}

async function seed(api) {
  const ids = [];
  for (let number = 0; number < 30; number += 1) {
    const text = pipelines.checks(
      number % 3 === 0 ? "docs" : "checks",
      0.1 * (number % 5),
      number % 8 === 5 ? 1 : 0,
    );
    const branch = number % 4 === 3 ? "feature/spring-tide" : "main";
    ids.push(await api.start(text, { repo: repositories[number % 3], branch, ...details(number) }));
  }
  await Promise.all(ids.map((id) => api.ended(id, 300)));
  const failed = await api.start(pipelines.delivery(true), details(31));
  await api.ended(failed, 120);
  const waiting = await api.start(pipelines.delivery(false), details(32));
  await api.until(
    waiting,
    (view) => view.jobs.some((job) => job.approval === "awaited" && job.status === "PENDING"),
    120,
  );
  await api.until(
    waiting,
    (view) => view.jobs.some((job) => job.job_name === "staging" && job.status === "SUCCESS"),
    120,
  );
  return { failed, waiting };
}

/** Writes the picture of each page that is listed: name, path, and what `open` gets. */
async function takePictures(world, shots) {
  for (const [name, path, options] of shots) {
    const { page, close } = await world.open(path, { height: 760, ...options });
    await loaded(page);
    await page.waitForTimeout(1500);
    const file = `${target}${name}.png`;
    await page.screenshot({ path: file });
    await close();
    execFileSync("pngquant", ["--force", "--output", file, "--", file]);
    console.log(`${((await stat(file)).size / 1024).toFixed(0).padStart(4)} KiB  ${name}.png`);
  }
}

/** The pages with executions. */
async function executionPages(world) {
  const { failed, waiting } = await seed(world.api);
  const repo = encodeURIComponent(repositories[0]);
  await takePictures(world, [
    ["home", "/", {}],
    ["home-dark", "/", { scheme: "dark" }],
    ["executions", "/executions", {}],
    ["execution", `/executions/${failed}`, {}],
    ["execution-dark", `/executions/${waiting}`, { scheme: "dark" }],
    ["timeline", `/executions/${failed}?view=timeline`, {}],
    ["tests", `/executions/${failed}?view=tests`, {}],
    ["artifacts", `/executions/${failed}?view=artifacts`, {}],
    ["summary", `/executions/${failed}?view=summary`, {}],
    ["pipeline", `/executions/${failed}?view=pipeline`, {}],
    ["log", `/executions/${failed}/jobs/unit`, {}],
    ["insights", `/insights?repo=${repo}`, {}],
    ["workers", "/workers", {}],
    ["start", "/start", {}],
    ["repositories", "/settings/repositories", {}],
    ["deliveries", `/settings/deliveries?repo=${repo}`, {}],
    ["schedules", "/settings/schedules", {}],
    ["environments", `/settings/environments?repo=${repo}`, {}],
    ["secrets", `/settings/secrets?repo=${repo}`, {}],
    ["registries", `/settings/registries?repo=${repo}`, {}],
    ["tokens", "/settings/tokens", {}],
    ["audit", "/settings/audit", {}],
    ["disk", "/settings/disk", {}],
    ["dead-letters", "/settings/dead-letters", {}],
    ["phone", `/executions/${failed}`, { width: 390, height: 780 }],
  ]);
}

/** The pages of people and their roles, with a provider. */
async function accountPages(world) {
  const rules = [
    { role: "admin", user: "oidc:mara@example.org" },
    { role: "developer", group: "oidc:harbour", repo: "git.example.org/harbour/*" },
    { role: "viewer" },
  ];
  for (const rule of rules) await world.api.post("/api/role", rule);
  await takePictures(world, [["sign-in", "/", { signIn: null }]]);
  const { page, close } = await world.open("/", { signIn: null, height: 760 });
  await page.getByRole("link", { name: /^Sign in with / }).click();
  await page.getByRole("button", { name: "I am mara" }).click();
  await page.getByRole("link", { name: /^Signed in as/ }).waitFor();
  const context = { storageState: await page.context().storageState() };
  await takePictures(world, [
    ["account", "/settings/account", { signIn: null, context }],
    ["command-line", `/login?challenge=${"a".repeat(43)}&port=7601&state=s`, { signIn: null, context }],
    ["roles", "/settings/roles", { signIn: null, context }],
    ["sessions", "/settings/sessions", { signIn: null, context }],
  ]);
  await close();
}

/** Runs the steps with a server, and stops it. */
async function withServer(options, steps) {
  const world = await start(options);
  try {
    await steps(world);
  } finally {
    await world.stop();
  }
}

await mkdir(target, { recursive: true });
await withServer({}, executionPages);
const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const people = {
  mara: { name: "Mara", email: "mara@example.org", email_verified: true, groups: ["harbour"] },
};
const provider = await startProvider(url, people);
try {
  const oidc = ["--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT_ID];
  await withServer({ port, options: ["--public-url", url, ...oidc] }, accountPages);
} finally {
  await provider.close();
}
