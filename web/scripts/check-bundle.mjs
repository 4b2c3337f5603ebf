// Fails when dist/ is not what the sources give.
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

async function contents(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const pairs = files
    .sort()
    .map(async (file) => [file.slice(directory.length), (await readFile(file)).toString("base64")]);
  return new Map(await Promise.all(pairs));
}

const fresh = await mkdtemp(join(tmpdir(), "tidemill-web-"));
try {
  await build({ root, logLevel: "warn", build: { outDir: fresh, emptyOutDir: true } });
  const [expected, committed] = [await contents(fresh), await contents(join(root, "dist"))];
  const names = new Set([...expected.keys(), ...committed.keys()]);
  const different = [...names].filter((name) => expected.get(name) !== committed.get(name));
  if (different.length > 0) {
    console.error(`web/dist is not what the sources give: ${different.join(", ")}. Run: npm run build`);
    process.exitCode = 1;
  }
} finally {
  await rm(fresh, { recursive: true, force: true });
}
