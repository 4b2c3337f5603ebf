//! Shows an execution while it runs.

pub mod format;
mod live;
mod plain;
pub mod test_results;

pub use live::LiveView;
pub use plain::PlainView;

use std::io::IsTerminal;
use tidemill_core::api::ExecutionView;

/// A display of an execution.
pub trait View: Send {
    /// Shows a changed execution.
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// Updates animations.
    fn tick(&mut self) -> std::io::Result<()>;
    /// Shows the ended execution.
    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// Prints a message.
    fn note(&mut self, message: &str) -> std::io::Result<()>;
}

/// The view for standard output: a live tree on a terminal, lines otherwise, and nothing if `quiet`.
pub fn for_stdout(quiet: bool) -> Box<dyn View> {
    if quiet {
        Box::new(NoView)
    } else if std::io::stdout().is_terminal() {
        Box::new(LiveView::new())
    } else {
        Box::new(PlainView::new())
    }
}

/// A view that shows nothing.
#[derive(Debug)]
pub struct NoView;

impl View for NoView {
    fn show(&mut self, _: &ExecutionView) -> std::io::Result<()> {
        Ok(())
    }
    fn tick(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &ExecutionView) -> std::io::Result<()> {
        Ok(())
    }
    fn note(&mut self, message: &str) -> std::io::Result<()> {
        crate::output::errln!("{}", crate::output::printable_lines(message));
        Ok(())
    }
}
