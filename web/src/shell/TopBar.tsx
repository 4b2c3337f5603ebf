import type { JSX } from "preact";
import { signOut, switchUser } from "../api/account";
import { anonymous, sessionInfo } from "../api/session";
import { Icon, type IconName } from "../components/Icon";
import { address, to } from "../router/router";
import { paletteOpen } from "./CommandPalette";
import { nextTheme, theme, type Theme } from "./theme";

const PAGES: readonly { name: string; icon: IconName; href: string; first: string | undefined }[] = [
  { name: "Home", icon: "home", href: to.home(), first: undefined },
  { name: "Executions", icon: "list", href: to.executions(), first: "executions" },
  { name: "Insights", icon: "chart", href: to.insights(), first: "insights" },
  { name: "Workers", icon: "worker", href: to.workers(), first: "workers" },
  { name: "Start", icon: "play", href: to.start(), first: "start" },
  { name: "Settings", icon: "sliders", href: to.settings("repositories"), first: "settings" },
];

const THEME_ICON: Record<Theme, IconName> = { system: "contrast", light: "sun", dark: "moon" };

function skip(): void {
  document.getElementById("main")?.focus();
}

/** Who is signed in. */
function Account(): JSX.Element | null {
  const caller = sessionInfo.value?.caller;
  if (caller == null) return null;
  return (
    <a class="account" href={to.settings("account")} title={`Signed in as ${caller.name}`}>
      <Icon name="person" />
      <span class="hidden-text">Signed in as </span>
      <span class="account-name">{caller.name}</span>
    </a>
  );
}

export function TopBar(): JSX.Element {
  const first = address.value.path[0];
  return (
    <header class="top-bar">
      <button type="button" class="skip-link" onClick={skip}>
        Skip to content
      </button>
      <a class="brand" href={to.home()} aria-label="Tidemill, home">
        <Icon name="mill" /> <span>Tidemill</span>
      </a>
      <nav aria-label="Pages">
        {PAGES.map((page) => (
          <a key={page.name} href={page.href} aria-current={page.first === first ? "page" : undefined}>
            <Icon name={page.icon} />
            <span>{page.name}</span>
          </a>
        ))}
      </nav>
      <div class="top-actions">
        <button type="button" class="palette-button" onClick={() => (paletteOpen.value = true)}>
          <Icon name="search" />
          <span class="wide-only">Go to…</span> <kbd class="wide-only">Ctrl K</kbd>
          <span class="hidden-text">Open the command palette</span>
        </button>
        <button
          type="button"
          class="icon-button"
          title={`Colours: ${theme.value}`}
          aria-label={`Colours: ${theme.value}. Change to ${nextTheme[theme.value]}`}
          onClick={() => (theme.value = nextTheme[theme.value])}
        >
          <Icon name={THEME_ICON[theme.value]} />
        </button>
        {anonymous.value ? (
          <button type="button" onClick={switchUser}>
            Sign in
          </button>
        ) : (
          <>
            <Account />
            <button
              type="button"
              class="icon-button"
              title="Sign out"
              aria-label="Sign out"
              onClick={() => {
                // The page for signing in shows a session that goes on.
                signOut().catch(switchUser);
              }}
            >
              <Icon name="exit" />
            </button>
          </>
        )}
      </div>
    </header>
  );
}
