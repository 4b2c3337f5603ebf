//! A live view of stages and jobs on a terminal.

use super::{
    display::View,
    format,
    frame::{Moment, complete, frame},
    hint::CommandHints,
    screen::Screen,
};
use crate::output::printable_lines;
use tidemill_core::api::ExecutionView;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Stages and jobs that are redrawn in place.
#[derive(Debug)]
pub struct LiveView {
    screen: Screen,
    hints: CommandHints,
    last: Option<ExecutionView>,
    ticks: usize,
}

impl LiveView {
    /// Creates a view that shows nothing yet.
    pub fn new(hints: CommandHints) -> Self {
        Self { screen: Screen::new(), hints, last: None, ticks: 0 }
    }

    fn moment(&self) -> Moment {
        Moment { now: format::now(), spinner: SPINNER[self.ticks % SPINNER.len()] }
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let Some(view) = &self.last else { return Ok(()) };
        let rows = frame(view, &self.hints, Screen::current_size(), self.moment());
        self.screen.show(rows)
    }
}

impl View for LiveView {
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        self.last = Some(view.clone());
        self.draw()
    }

    fn tick(&mut self) -> std::io::Result<()> {
        self.ticks += 1;
        self.draw()
    }

    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        self.last = None;
        let mut rows = complete(view, Screen::current_size(), self.moment());
        let (verdict, style) = format::summary_line(view);
        rows.push(format!("{style}{verdict}{style:#}"));
        self.screen.print(&rows)
    }

    fn leave(&mut self) -> std::io::Result<()> {
        self.last = None;
        self.screen.leave()
    }

    fn note(&mut self, message: &str) -> std::io::Result<()> {
        let lines: Vec<String> = printable_lines(message).lines().map(str::to_owned).collect();
        self.screen.print(&lines)?;
        self.draw()
    }
}
