//! How a run is shown while it lasts.

mod live;
mod plain;
pub mod words;

pub use live::LiveView;
pub use plain::PlainView;

use std::io::IsTerminal;
use tidemill_core::api::ExecutionView;

/// Somewhere that a run is shown.
pub trait View: Send {
    /// Something changed.
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// Some time passed.
    fn tick(&mut self) -> std::io::Result<()>;
    /// The run is over: the last picture.
    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// A line beside the picture.
    fn note(&mut self, words: &str) -> std::io::Result<()>;
}

/// The view that fits standard output: a picture on a terminal, lines elsewhere, or nothing when that is wanted.
pub fn fitting(quiet: bool) -> Box<dyn View> {
    if quiet {
        Box::new(NoView)
    } else if std::io::stdout().is_terminal() {
        Box::new(LiveView::new())
    } else {
        Box::new(PlainView::new())
    }
}

/// Shows nothing.
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
    fn note(&mut self, words: &str) -> std::io::Result<()> {
        crate::errln!("{}", crate::output::printable_lines(words));
        Ok(())
    }
}
