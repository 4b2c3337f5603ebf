// Fails when "What is tested where" of docs/ui.md is not the list of the browser tests: each test stands there, by its file and name.
import { readFile, readdir } from "node:fs/promises";

const tests = new URL("../tests/", import.meta.url);
const page = await readFile(new URL("../../docs/ui.md", import.meta.url), "utf8");
const section = page.split("## What is tested where\n")[1]?.split("\n## ")[0] ?? "";
/** The words of a text; a name may be broken over lines. */
const words = (text) => text.replace(/\s+/g, " ");

const problems = [];
let rest = words(section.slice(section.indexOf("\n- **")));
for (const file of (await readdir(tests)).filter((name) => name.endsWith(".spec.mjs"))) {
  const text = await readFile(new URL(file, tests), "utf8");
  const names = [...text.matchAll(/^ *test\(\s*["`](.+?)["`],/gm)].map((found) => found[1]);
  if (names.length === 0) problems.push(`${file} has no tests`);
  // The longest first, as a name may begin like another one. What follows a colon is made by a loop.
  for (const name of names.sort((a, b) => b.length - a.length)) {
    const shown = words(name.replace(/: \$\{.*/, ""));
    if (!rest.includes(shown)) problems.push(`docs/ui.md lacks the test of ${file}: ${shown}`);
    rest = rest.replace(shown, "");
  }
}
// What is left is what the tests are about, their files, and what stands between.
rest = rest
  .replace(/\*\*.+?\*\*/g, "")
  .replace(/`[a-z-]+`/g, "")
  .replace(/\([^)]*\)/g, "");
const unknown = rest.split(/[-:;,]\s|\s-\s/).map((part) => part.trim());
for (const part of unknown.filter((part) => /\w/.test(part)))
  problems.push(`docs/ui.md names a test that does not exist: ${part}`);

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
