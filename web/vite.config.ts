import { defineConfig } from "vite";
import { FIRST_LIST } from "./src/api/first_list";

// Requests what the page shows first, before the code of the page is there, and does not wait for that code.
const EARLY = "src/api/early.ts";
/** Where its script is in the document: after the base of addresses. */
const EARLY_PLACE = "<!-- early requests -->";

// The server that `npm run dev` shows; the built page asks the server that it came from.
const server = process.env.TIDEMILL_SERVER ?? "http://127.0.0.1:7600";

export default defineConfig({
  // The page works below any prefix.
  base: "./",
  plugins: [
    {
      name: "early-requests",
      apply: "build",
      buildStart() {
        this.emitFile({ type: "chunk", id: EARLY, name: "early" });
      },
      transformIndexHtml: {
        order: "post",
        handler(html, { bundle }) {
          const chunks = Object.values(bundle ?? {}).filter((one) => one.type === "chunk");
          const chunk = chunks.find((one) => one.facadeModuleId?.endsWith(EARLY));
          if (chunk === undefined || chunk.imports.length > 0 || !html.includes(EARLY_PLACE))
            throw new Error(`${EARLY} must be a script of its own, which index.html has a place for`);
          return html.replace(EARLY_PLACE, `<script type="module" async src="./${chunk.fileName}"></script>`);
        },
      },
    },
  ],
  // What `early.ts` has in common with the code of the page.
  define: { FIRST_LIST: JSON.stringify(FIRST_LIST) },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { host: "127.0.0.1", proxy: { "/api": { target: server, changeOrigin: false } } },
  build: {
    target: "es2022",
    // No data: addresses: the policy of the page allows its own server only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    sourcemap: false,
  },
});
