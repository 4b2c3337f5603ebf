//! Shows an execution while it runs.

mod display;
pub mod format;
mod frame;
pub mod hint;
mod live;
mod plain;
mod row;
mod screen;
pub mod summaries;
pub mod test_results;
mod waits;

use hint::CommandHints;

pub use display::{QuietView, View};
pub use live::LiveView;
pub use plain::{PlainView, WaitView};

use crate::{
    args::{ViewArgs, ViewFormat},
    env_vars, output,
};
use std::io::IsTerminal;

/// Returns the view for standard output: a live view on a capable terminal, lines otherwise, nothing if the format is JSON or `--quiet`
/// is set.
pub fn for_stdout(args: ViewArgs, hints: CommandHints) -> Box<dyn View> {
    if args.quiet || args.format == ViewFormat::Json {
        Box::new(QuietView)
    } else if args.format == ViewFormat::Human && is_live() {
        Box::new(LiveView::new(hints))
    } else {
        Box::new(PlainView::new(hints))
    }
}

/// Returns the view beside followed logs, which fill standard output.
pub fn beside_logs(args: ViewArgs, hints: CommandHints) -> Box<dyn View> {
    if args.quiet || args.format == ViewFormat::Json {
        Box::new(QuietView)
    } else {
        Box::new(WaitView::new(hints))
    }
}

/// Whether standard output is a terminal that can redraw rows, and the user or a CI system does not ask for plain text.
fn is_live() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_ci = std::env::var(env_vars::CI).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    // Without colours, the stream drops all control sequences.
    std::io::stdout().is_terminal()
        && !is_ci
        && !is_set(env_vars::NO_COLOR)
        && std::env::var(env_vars::TERM).is_ok_and(|term| !matches!(term.as_str(), "" | "dumb"))
        && output::stdout_has_colours()
}
