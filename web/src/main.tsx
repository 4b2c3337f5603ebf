import { render } from "preact";
import "./design/tokens.css";
import "./design/base.css";
import "./design/parts.css";
import "./design/shell.css";
import "./design/lists.css";
import "./design/execution.css";
import { loadSession } from "./api/account";
import { startRouter } from "./router/router";
import { App } from "./shell/App";
import { applyTheme } from "./shell/theme";
import { applyTitle } from "./shell/title";

applyTheme();
applyTitle();
startRouter();
void loadSession();
const root = document.getElementById("app");
if (root !== null) render(<App />, root);
