"use strict";
// All values are set as text, never as markup: names and logs are untrusted.
const root = new URL(".", document.baseURI).pathname;
const api = root + "api";
const [, id = "", , jobName = ""] = location.pathname.slice(root.length).split("/").map(decodeURIComponent);
const main = document.getElementById("main");
const TOKEN_KEY = "tidemill-token";
const MAX_LOG_CHARS = 2_000_000;
let token = sessionStorage.getItem(TOKEN_KEY) || localStorage.getItem(TOKEN_KEY);

const element = (name, props, ...children) => {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const showError = (message) => { document.getElementById("trouble").textContent = message; };

function duration(ms) {
  const s = Math.max(0, ms) / 1000;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  if (s < 60) return (Math.floor(s * 10) / 10).toFixed(1) + "s";
  return s < 3600 ? Math.floor(s / 60) + "m" + two(s % 60) + "s" : Math.floor(s / 3600) + "h" + two(s % 3600 / 60) + "m";
}
const since = (start, end) => duration((end ? Date.parse(end) : Date.now()) - Date.parse(start));
const local = (time) => new Date(time).toLocaleString();
// A duration; without an end, it is updated every second.
const ticking = (start, end) => {
  const time = element("time", {}, since(start, end));
  if (!end) time.dataset.start = start;
  return time;
};
setInterval(() => {
  for (const time of document.querySelectorAll("time[data-start]")) time.textContent = since(time.dataset.start, null);
}, 1000);

// Calls the API. Returns `null` if the token is not valid; the page then asks for another one.
async function call(path, options = {}) {
  const headers = { ...options.headers, authorization: "Bearer " + token };
  const reply = await fetch(api + path, { ...options, headers });
  if (reply.status === 401) {
    askToken("The token is not valid.");
    return null;
  }
  if (!reply.ok && reply.status !== 304) {
    const problem = await reply.json().catch(() => ({}));
    throw new Error(problem.detail || problem.title || "The server replied with " + reply.status + ".");
  }
  return reply;
}

function askToken(message) {
  const value = element("input", { type: "password", required: true, autocomplete: "current-password", name: "token", size: 50 });
  const keep = element("input", { type: "checkbox", name: "keep" });
  const form = element("form", {},
    element("h1", {}, "Token required"),
    element("p", {}, message),
    element("p", {}, element("label", {}, "Token ", value)),
    element("p", {}, element("label", {}, keep, " Store the token in this browser")),
    element("button", {}, "Show"));
  form.onsubmit = (event) => {
    event.preventDefault();
    token = value.value.trim();
    localStorage.removeItem(TOKEN_KEY);
    (keep.checked ? localStorage : sessionStorage).setItem(TOKEN_KEY, token);
    start();
  };
  main.replaceChildren(form);
  value.focus();
}

// The status of a job, as the command line prints it.
function statusText(job) {
  const why = job.failure_reason ? job.failure_reason.message : "no reason is recorded";
  const texts = {
    SUCCESS: () => job.carried_from ? "succeeded before" : "succeeded",
    FAILED: () => (job.allow_failure || job.tolerated ? "failed, which is allowed: " : "failed: ") + why,
    CANCELED: () => "canceled",
    SKIPPED: () => why,
    RUNNING: () => job.phase || "running",
    QUEUED: () => {
      const labels = Object.entries(job.runs_on || {}).map(([name, value]) => name + "=" + value).join(",");
      return job.not_before ? "to be tried again soon: " + why : "waiting for a worker" + (labels && " with " + labels);
    },
    PENDING: () => job.approval === "awaited" ? "waiting for approval"
      : job.waits_for_place ? "waiting for concurrency group \"" + job.waits_for_place.group + "\""
        + job.waits_for_place.holders.slice(0, 1).map((one) => ": held by execution #" + one.run_number + " job " + one.job_name).join("")
      : "waiting",
  };
  return (texts[job.status] || (() => job.status))() + (job.attempt > 1 ? " (attempt " + job.attempt + ")" : "");
}
const SIGNS = { SUCCESS: "✓", FAILED: "✗", CANCELED: "⊘", SKIPPED: "–", RUNNING: "●", QUEUED: "◦", PENDING: "·" };

const goTo = (reply) => location.assign(root + "executions/" + reply.execution_id);

function doing(label, path, then, body = {}) {
  const button = element("button", { type: "button" }, label);
  button.onclick = async () => {
    button.disabled = true;
    showError("");
    try {
      const reply = await call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      if (reply && then) then(await reply.json());
    } catch (error) { showError(error.message); }
    button.disabled = false;
  };
  return button;
}

// The displayed log of one attempt of one job.
const log = { job: null, attempt: 0, text: element("pre", { tabIndex: 0 }), turn: 0 };

function choose(job, attempt) {
  log.job = job.id;
  log.attempt = attempt;
  log.text.replaceChildren();
  history.replaceState(null, "", "#" + job.id);
  follow(++log.turn);
}

async function follow(turn) {
  const decoder = new TextDecoder();
  let offset = 0;
  while (turn === log.turn) {
    try {
      const reply = await call("/job/logs/" + log.job + "?wait_ms=10000&offset=" + offset + "&attempt=" + log.attempt);
      if (!reply || turn !== log.turn) return;
      const text = decoder.decode(await reply.arrayBuffer(), { stream: true });
      const next = Number(reply.headers.get("x-tidemill-log-next"));
      // Removes control sequences such as colors; a line that is overwritten is shown each time.
      const plain = text.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "").replace(/\r(?!\n)/g, "\n");
      const atEnd = log.text.scrollHeight - log.text.scrollTop - log.text.clientHeight < 40;
      if (plain) log.text.append(plain);
      while (log.text.textContent.length > MAX_LOG_CHARS && log.text.childNodes.length > 1) log.text.firstChild.remove();
      if (atEnd) log.text.scrollTop = log.text.scrollHeight;
      if (reply.headers.get("x-tidemill-log-end") === "true") return;
      if (next === offset) await sleep(1000);
      offset = next;
    } catch (error) {
      showError(error.message);
      await sleep(3000);
    }
  }
}

function jobRow(job) {
  const open = log.job === job.id;
  const took = job.start_time && !job.carried_from && (job.status === "RUNNING" || job.end_time);
  const row = element("button", { className: "job", type: "button" },
    element("span", { className: job.status }, SIGNS[job.status] || "?"),
    element("span", { className: "name" }, job.job_name),
    element("span", { className: "words " + job.status }, statusText(job)),
    job.child ? element("span", { className: "dim" }, job.child.pipeline_name + " #" + job.child.run_number + " "
      + job.child.status.toLowerCase()) : null,
    tests.has(job.id) ? element("span", { className: "dim" }, counted(tests.get(job.id))) : null,
    took ? ticking(job.start_time, job.status === "RUNNING" ? null : job.end_time) : null);
  row.dataset.job = job.id;
  row.setAttribute("aria-expanded", open);
  row.onclick = () => {
    if (open) { log.job = null; log.turn++; history.replaceState(null, "", "#"); } else choose(job, job.attempt);
    draw(shown);
  };
  const about = element("p", { className: "dim" });
  if (open) {
    for (let attempt = 1; job.attempt > 1 && attempt <= job.attempt; attempt++) {
      const other = element("button", { type: "button", disabled: attempt === log.attempt }, "attempt " + attempt);
      other.onclick = () => { choose(job, attempt); draw(shown); };
      about.append(other, " ");
    }
    if (job.approval === "awaited") about.append(doing("Approve", "/job/approve/" + job.id), " ");
    if (shown.execution.end_time && job.failure_reason && job.failure_reason.kind === "not_approved") {
      about.append(doing("Approve", "/pipeline/retry/" + id, goTo, { approve: [job.job_name] }), " ");
    }
    if (job.child) {
      const child = job.child;
      about.append(element("a", { href: root + "executions/" + child.execution_id },
        child.pipeline_name + " #" + child.run_number), " ");
    }
    about.append(job.docker_image);
    if (job.environment) about.append(" · " + job.environment.name);
  }
  const cases = open && tests.has(job.id) ? testCases(tests.get(job.id)) : [];
  return open ? element("div", {}, row, about, ...cases, log.text) : row;
}

let shown = null;

// Test results by job, loaded when the execution has ended.
const tests = new Map();

async function readTests() {
  const reply = await call("/pipeline/tests/" + id);
  if (!reply) return;
  for (const job of (await reply.json()).jobs) tests.set(job.job_id, job.report);
  if (tests.size) draw(shown);
}

function counted(report) {
  const of = report.counts, failed = of.failures + of.errors;
  const parts = [failed && failed + " failed", of.flaky && of.flaky + " flaky", of.skipped && of.skipped + " skipped"].filter(Boolean);
  const line = of.tests ? ["tests " + of.tests + (parts.length ? ": " + parts.join(", ") : "")] : [];
  if (typeof report.coverage === "number") line.push("coverage " + report.coverage + " %");
  return line.join(" · ");
}

function testCases(report) {
  const list = (title, cases, more) => cases.length + more === 0 ? [] : [
    element("p", {}, title),
    element("ul", {}, ...cases.map((one) => element("li", {}, one.suite + " " + one.name,
      one.message ? element("pre", {}, one.message) : null))),
    more ? element("p", { className: "dim" }, "and " + more + " more") : null];
  return [...list("Failed", report.failed || [], report.failed_left_out || 0), ...list("Flaky", report.flaky || [], report.flaky_left_out || 0)];
}

function draw(view) {
  shown = view;
  const of = view.execution;
  const scroll = log.text.scrollTop;
  const focus = document.activeElement && document.activeElement.dataset.job;
  document.title = of.pipeline_name + " #" + of.run_number + " " + of.status.toLowerCase();
  const facts = [of.repo, of.branch, of.commit && of.commit.slice(0, 12), of.trigger.replace("_", " "), of.requested_by,
    local(of.created_at)];
  const buttons = element("p", {});
  if (of.end_time) {
    buttons.append(doing("Retry unsuccessful jobs", "/pipeline/retry/" + id, goTo));
  } else {
    if (view.approval === "awaited") buttons.append(doing("Approve", "/pipeline/approve/" + id), " ");
    buttons.append(doing("Cancel", "/pipeline/cancel/" + id));
  }
  const stages = view.stages.map((stage) => element("section", {}, element("h2", {}, stage),
    ...view.jobs.filter((job) => job.stage === stage).map(jobRow)));
  const note = of.timed_out ? "The execution timed out." : of.superseded_by ? "A newer execution superseded this one."
    : view.approval === "awaited" ? "The execution starts when a user approves it."
    : view.waits_for ? "The execution waits for an older one of its group." : null;
  main.replaceChildren(
    element("h1", {}, of.pipeline_name + " #" + of.run_number + " ", element("span", { className: of.status }, of.status.toLowerCase())),
    element("p", { className: "dim" }, facts.filter(Boolean).join(" · ") + " · ", ticking(of.created_at, of.end_time)), element("p", {}, note), buttons, ...stages);
  log.text.scrollTop = scroll;
  const row = focus && main.querySelector('[data-job="' + CSS.escape(focus) + '"]');
  if (row) row.focus();
}

async function watch() {
  let etag = null, previous = null;
  for (;;) {
    const started = Date.now();
    try {
      const reply = await call("/pipeline/status/" + id + "?wait_ms=10000", { headers: etag ? { "if-none-match": etag } : {} });
      if (!reply) return;
      showError("");
      if (reply.status === 200) {
        etag = reply.headers.get("etag");
        const view = await reply.json();
        if (!shown) {
          const named = view.jobs.find((job) => job.job_name === jobName);
          const failed = view.jobs.find((job) => job.status === "FAILED" && !job.allow_failure);
          if (named || failed) choose(named || failed, (named || failed).attempt);
        }
        // The length of a log does not matter here.
        const now = JSON.stringify(view, (key, value) => key === "log_bytes" ? undefined : value);
        if (now !== previous) draw(view);
        previous = now;
        if (view.execution.end_time) return await readTests().catch((error) => showError(error.message));
      }
    } catch (error) {
      showError(error.message + " Retrying.");
      await sleep(3000);
    }
    // For servers without long polls, and for hidden pages.
    if (Date.now() - started < 1000) await sleep(1000);
    while (document.hidden) await sleep(1000);
  }
}

async function list() {
  const rows = element("table");
  const more = element("button", { type: "button" }, "Older executions");
  let cursor = "";
  more.onclick = async () => {
    more.disabled = true;
    try {
      const reply = await call("/pipeline/executions?limit=50" + cursor);
      if (!reply) return;
      const page = await reply.json();
      for (const of of page.executions) {
        rows.append(element("tr", {},
          element("td", { className: of.status }, of.status.toLowerCase()),
          element("td", {}, element("a", { href: root + "executions/" + of.id }, of.pipeline_name + " #" + of.run_number)),
          element("td", {}, [of.repo, of.branch].filter(Boolean).join(" · ")),
          element("td", {}, of.commit ? of.commit.slice(0, 12) : ""),
          element("td", {}, local(of.created_at)),
          element("td", {}, of.end_time ? since(of.created_at, of.end_time) : "")));
      }
      if (!rows.rows.length) rows.append(element("tr", {}, element("td", {}, "There are no executions.")));
      more.hidden = !page.next_cursor;
      cursor = "&cursor=" + encodeURIComponent(page.next_cursor || "");
    } catch (error) { showError(error.message); }
    more.disabled = false;
  };
  main.replaceChildren(element("h1", {}, "Executions"), rows, more);
  await more.onclick();
}

function start() {
  showError("");
  document.getElementById("all").href = root + "executions";
  if (!token) askToken("Enter a token with the scope `read`. To create one, run: tidemill token create --scope read");
  else if (id) watch();
  else list();
}
start();
