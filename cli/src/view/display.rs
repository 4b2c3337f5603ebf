//! The interface of all views, and the view that shows nothing.

use crate::output::{errln, printable_lines};
use tidemill_core::api::ExecutionView;

/// A display of an execution.
pub trait View: Send {
    /// Shows a changed execution.
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// Updates animations.
    fn tick(&mut self) -> std::io::Result<()>;
    /// Shows the ended execution.
    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()>;
    /// Ends the display of an execution that has not ended.
    fn leave(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    /// Prints a message; to standard error unless the view has a place for it.
    fn note(&mut self, message: &str) -> std::io::Result<()> {
        errln!("{}", printable_lines(message));
        Ok(())
    }
}

/// A view that shows nothing.
#[derive(Debug)]
pub struct QuietView;

impl View for QuietView {
    fn show(&mut self, _: &ExecutionView) -> std::io::Result<()> {
        Ok(())
    }
    fn tick(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    fn finish(&mut self, _: &ExecutionView) -> std::io::Result<()> {
        Ok(())
    }
}
