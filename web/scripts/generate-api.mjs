// Writes src/api/schema.ts from openapi.json. With --check: fails if it is not current.
// openapi.json itself is written by `UPDATE_SCHEMA=1 cargo test -p tidemill-services openapi`.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../openapi.json", import.meta.url);
const target = new URL("../src/api/schema.ts", import.meta.url);

const text =
  "// Written by `npm run api` from openapi.json; do not edit.\n" +
  astToString(await openapiTS(source, { defaultNonNullable: false }));

if (process.argv.includes("--check")) {
  const current = await readFile(target, "utf8").catch(() => "");
  if (current !== text) {
    console.error("web/src/api/schema.ts is not what openapi.json gives. Run: npm run api");
    process.exit(1);
  }
} else {
  await writeFile(target, text);
}
