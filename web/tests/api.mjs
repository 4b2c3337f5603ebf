// A client of a server under test.

export class Api {
  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  async call(path, options = {}) {
    const headers = { authorization: `Bearer ${this.token}`, "content-type": "application/json" };
    const reply = await fetch(this.url + path, { headers, ...options });
    if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
    return reply.json();
  }

  post(path, body = {}) {
    return this.call(path, { method: "POST", body: JSON.stringify(body) });
  }

  /** Starts an execution and returns its id. */
  async start(pipeline, details = {}) {
    const body = {
      pipeline,
      repo: "https://git.example.org/harbour/mill.git",
      branch: "main",
      source: { kind: "none" },
      force: true,
      ...details,
    };
    return (await this.post("/api/pipeline/execute", body)).execution_id;
  }

  status(id) {
    return this.call(`/api/pipeline/status/${id}`);
  }

  /** Waits until an execution meets a condition, and returns it. */
  async until(id, condition, seconds = 60) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const view = await this.status(id);
      if (condition(view)) return view;
      if (Date.now() > end)
        throw new Error(`execution ${id} is not as expected: ${JSON.stringify(view.execution)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  ended(id, seconds) {
    return this.until(id, (view) => view.execution.end_time != null, seconds);
  }

  /** Creates a token with these scopes. */
  async createToken(name, scopes) {
    return (await this.post("/api/token", { name, scopes })).token;
  }
}
