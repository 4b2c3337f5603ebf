// Serves web/dist in front of a server, with the server's headers for pages: so the bundle is tested without a build of the server.
import { existsSync, readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const POLICY =
  "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** Starts it on a free port of this machine; returns its address and a function that ends it. */
export async function serve(api, port = 0) {
  const target = new URL(api);
  const server = createServer((incoming, reply) => {
    const path = incoming.url.split("?")[0];
    if (path.startsWith("/api/") || path.startsWith("/artifact-files/")) {
      const options = {
        host: target.hostname,
        port: target.port,
        path: incoming.url,
        method: incoming.method,
      };
      const headers = { ...incoming.headers, host: target.host };
      const forwarded = request({ ...options, headers }, (answer) => {
        reply.writeHead(answer.statusCode, answer.headers);
        answer.pipe(reply);
      });
      forwarded.on("error", () => reply.destroy());
      reply.on("close", () => forwarded.destroy());
      incoming.pipe(forwarded);
      return;
    }
    const isAsset = path.startsWith("/assets/");
    const file = isAsset ? join(dist, normalize(path)) : join(dist, "index.html");
    if (!existsSync(file)) {
      reply.writeHead(404).end();
      return;
    }
    reply.writeHead(200, {
      "content-type": `${TYPES[extname(file)] ?? "application/octet-stream"}; charset=utf-8`,
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      ...(isAsset
        ? { "cache-control": "public, max-age=31536000, immutable", "content-encoding": "gzip" }
        : { "cache-control": "no-cache" }),
    });
    reply.end(isAsset ? gzipSync(readFileSync(file), { level: 9 }) : readFileSync(file));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
