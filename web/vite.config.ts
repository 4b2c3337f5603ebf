import { defineConfig } from "vite";

// The server that `npm run dev` shows; the built page asks the server that it came from.
const server = process.env.TIDEMILL_SERVER ?? "http://127.0.0.1:7600";

export default defineConfig({
  // The page works below any prefix.
  base: "./",
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
