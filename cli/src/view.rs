//! Shows an execution while it runs.

mod display;
pub mod format;
mod live;
mod plain;
pub mod test_results;

pub use display::{QuietView, View};
pub use live::LiveView;
pub use plain::PlainView;

use crate::args::{ViewArgs, ViewFormat};
use std::io::IsTerminal;

/// Returns the view for standard output: a live tree on a terminal, lines otherwise, nothing if the format is JSON or `--quiet` is set.
pub fn for_stdout(args: ViewArgs) -> Box<dyn View> {
    if args.quiet || args.format == ViewFormat::Json {
        Box::new(QuietView)
    } else if args.format == ViewFormat::Human && std::io::stdout().is_terminal() {
        Box::new(LiveView::new())
    } else {
        Box::new(PlainView::new())
    }
}
