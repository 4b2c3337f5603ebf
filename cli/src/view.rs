//! Shows an execution while it runs.

mod display;
pub mod format;
mod live;
mod plain;
pub mod test_results;

pub use display::{QuietView, View};
pub use live::LiveView;
pub use plain::PlainView;

use std::io::IsTerminal;

/// Returns the view for standard output: a live tree on a terminal, lines otherwise, and nothing if `quiet`.
pub fn for_stdout(quiet: bool) -> Box<dyn View> {
    if quiet {
        Box::new(QuietView)
    } else if std::io::stdout().is_terminal() {
        Box::new(LiveView::new())
    } else {
        Box::new(PlainView::new())
    }
}
