//! A live tree of stages and jobs on a terminal.

use super::{display::View, format};
use crate::output::{Printable, printable, printable_lines};
use anstream::AutoStream;
use anstyle::Style;
use crossterm::{cursor, queue, terminal};
use std::io::{Stdout, Write};
use tidemill_core::api::{ExecutionView, JobView};
use tidemill_core::execution::status::JobStatus;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// A tree of stages and jobs that is redrawn in place.
#[derive(Debug)]
pub struct LiveView {
    out: AutoStream<Stdout>,
    last: Option<ExecutionView>,
    /// Number of lines on the screen.
    drawn: u16,
    frame: usize,
}

impl LiveView {
    /// Creates a view that shows nothing yet.
    pub fn new() -> Self {
        Self { out: anstream::stdout(), last: None, drawn: 0, frame: 0 }
    }

    fn erase(&mut self) -> std::io::Result<()> {
        if self.drawn > 0 {
            queue!(self.out, cursor::MoveToPreviousLine(self.drawn))?;
        }
        queue!(self.out, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        self.drawn = 0;
        Ok(())
    }

    fn draw(&mut self, view: &ExecutionView, all: bool) -> std::io::Result<()> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let mut lines = lines(view, SPINNER[self.frame % SPINNER.len()], usize::from(width));
        let max_lines = usize::from(height).saturating_sub(2).max(3);
        if !all && lines.len() > max_lines {
            // Too long for the screen: prefer running jobs, then failed ones.
            let omitted = lines.len() - (max_lines - 1);
            lines.sort_by_key(|line| (line.rank, line.position));
            lines.truncate(max_lines - 1);
            lines.sort_by_key(|line| line.position);
            let position = usize::MAX;
            lines.push(ViewLine { text: format!("  … and {omitted} more"), rank: 0, position });
        }
        self.erase()?;
        for line in &lines {
            writeln!(self.out, "{}", line.text)?;
        }
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        self.out.flush()
    }
}

struct ViewLine {
    text: String,
    rank: u8,
    position: usize,
}

fn lines(view: &ExecutionView, spinner: &str, width: usize) -> Vec<ViewLine> {
    let mut lines = Vec::new();
    let bold = Style::new().bold();
    let mut push = |text: String, rank: u8| {
        let position = lines.len();
        lines.push(ViewLine { text, rank, position });
    };
    // Lines must not wrap, so that they can be counted.
    let title: String = format::title(&view.execution).chars().take(width.saturating_sub(1)).collect();
    push(format!("{bold}{title}{bold:#}"), 0);
    let name_width =
        view.jobs.iter().map(|job| printable(&job.job_name).chars().count()).max().unwrap_or(0).min(40);
    for stage in &view.stages {
        push(format!(" {bold}{}{bold:#}", Printable(stage)), 1);
        for job in view.jobs.iter().filter(|job| job.stage == *stage) {
            let rank = match job.status {
                JobStatus::Running => 0,
                JobStatus::Failed => 1,
                JobStatus::Queued => 2,
                _ => 3,
            };
            push(line(job, spinner, name_width, width), rank);
        }
    }
    lines
}

/// Formats the line of a job, truncated to the width of the terminal.
fn line(job: &JobView, spinner: &str, name_width: usize, width: usize) -> String {
    let (sign, style) = format::status_symbol(job);
    let sign = if job.status == JobStatus::Running { spinner } else { sign };
    let run_time = format::run_time(job, format::now()).unwrap_or_default();
    let text =
        format!("{:name_width$}  {run_time:>7}  {}", Printable(&job.job_name), format::status_text(job));
    let text: String = text.chars().filter(|c| !c.is_control()).take(width.saturating_sub(5)).collect();
    format!("  {style}{sign}{style:#} {}", text.trim_end())
}

impl View for LiveView {
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        self.last = Some(view.clone());
        self.draw(view, false)
    }

    fn tick(&mut self) -> std::io::Result<()> {
        self.frame += 1;
        let Some(view) = self.last.take() else { return Ok(()) };
        let drawn = self.draw(&view, false);
        self.last = Some(view);
        drawn
    }

    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        self.last = None;
        self.draw(view, true)?;
        let (verdict, style) = format::summary_line(view);
        writeln!(self.out, "{style}{verdict}{style:#}")?;
        self.out.flush()
    }

    fn note(&mut self, message: &str) -> std::io::Result<()> {
        self.erase()?;
        writeln!(self.out, "{}", printable_lines(message))?;
        self.out.flush()
    }
}
