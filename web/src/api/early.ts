// Requests what the page shows first, while the browser still loads the page's code. It is a script of its own, and
// imports nothing: the build replaces `FIRST_LIST` by the constant of `first_list.ts`. `send` takes the replies.
declare const FIRST_LIST: string;

export {};

(() => {
  const { href } = new URL(".", document.baseURI);
  const stored = (key: string): string | null => sessionStorage.getItem(key) ?? localStorage.getItem(key);
  const token = stored("tidemill-token");
  const [place = ""] = location.href.slice(href.length).split("#");
  const execution = /^executions\/([^/?]+)/.exec(place)?.[1];
  const paths = ["/api/session"];
  // Without a token or a session there is nothing to ask for.
  if (token !== null || stored("tidemill-session") !== null) {
    if (place === "") paths.push("/api/overview");
    if (place === "executions") paths.push(FIRST_LIST);
    if (execution !== undefined) paths.push(`/api/pipeline/status/${execution}`);
  }
  const credential =
    token === null ? document.querySelector("base")?.dataset["authorization"] : `Bearer ${token}`;
  const replies = new Map<string, Promise<Response>>();
  for (const path of paths) {
    const headers: HeadersInit = credential === undefined ? {} : { authorization: credential };
    const reply = fetch(new URL(`.${path}`, href), { headers });
    // Whoever takes it sees the error.
    reply.catch(() => undefined);
    replies.set(path, reply);
  }
  window.earlyRequests = { token, at: Date.now(), replies };
})();
