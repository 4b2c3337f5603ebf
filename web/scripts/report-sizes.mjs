// Prints the sizes of the bundle, and fails when the first load is over its limit.
import { readFile, readdir } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const MAX_FIRST_LOAD = 120 * 1024;
const dist = new URL("../dist/", import.meta.url);

const html = await readFile(new URL("index.html", dist), "utf8");
let first = 0;
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
for (const name of [
  "index.html",
  ...(await readdir(new URL("assets/", dist))).map((file) => `assets/${file}`),
]) {
  const bytes = await readFile(new URL(name, dist));
  const compressed = gzipSync(bytes, { level: 9 }).length;
  const initial = name === "index.html" || html.includes(name);
  if (initial) first += compressed;
  console.log(`${kib(bytes.length)} ${kib(compressed)} gzip  ${initial ? "first" : "later"}  ${name}`);
}
console.log(`first load: ${kib(first).trim()} compressed, limit ${kib(MAX_FIRST_LOAD).trim()}`);
if (first > MAX_FIRST_LOAD) process.exit(1);
