//! The layout of the live view: what it shows of an execution in a terminal of a given size.

use super::{
    format,
    hint::CommandHints,
    row::{Row, fitted, wrapped},
    waits::{Wait, waits},
};
use crate::output::{Printable, printable};
use anstyle::{AnsiColor, Style};
use std::collections::BTreeMap;
use tidemill_core::{
    api::{Approval, ExecutionView, JobView},
    execution::{report::base_name, status::JobStatus},
    time::Timestamp,
};
use unicode_width::UnicodeWidthStr;

/// Columns of a run time.
const TIME_COLUMNS: usize = 7;
/// Columns of a job's row beside its name: indentation, symbol, run time, and spaces.
const FIXED_COLUMNS: usize = 4 + 2 + TIME_COLUMNS + 2;
/// Maximum columns of a name.
const MAX_NAME_COLUMNS: usize = 40;
/// Maximum number of rows for one reason of a failure.
const MAX_REASON_ROWS: usize = 3;
/// Names of the status of jobs in totals.
const TOTALS: [(JobStatus, &str); 7] = [
    (JobStatus::Failed, "failed"),
    (JobStatus::Running, "running"),
    (JobStatus::Queued, "queued"),
    (JobStatus::Pending, "waiting"),
    (JobStatus::Success, "succeeded"),
    (JobStatus::Canceled, "canceled"),
    (JobStatus::Skipped, "skipped"),
];

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// The moment that a frame shows.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// The symbol of running jobs.
    pub spinner: &'static str,
}

/// Returns the rows of a frame. It leaves one row and one column of the terminal unused, so that no terminal scrolls or wraps.
pub fn frame(view: &ExecutionView, hints: &CommandHints, size: Size, moment: Moment) -> Vec<String> {
    let columns = size.columns.saturating_sub(1).max(1);
    let rows = size.rows.saturating_sub(1).max(1);
    let mut frame = vec![title(view, columns, moment.now)];
    let totals = totals(view, columns);
    let waits = wait_rows(&waits(view, hints), columns, (rows / 3).max(1));
    let rest = rows.saturating_sub(2 + waits.len());
    let layout = Layout { columns, name_columns: name_columns(view, columns), moment };
    frame.extend(layout.jobs(view, rest));
    frame.extend(waits);
    frame.push(totals);
    // In a terminal of one or two rows, the totals are the most important.
    let first = frame.len().saturating_sub(rows);
    frame.drain(..first);
    frame
}

/// Returns all rows of an ended execution: stages and jobs in the plan's order, with complete reasons.
pub fn complete(view: &ExecutionView, size: Size, moment: Moment) -> Vec<String> {
    let columns = size.columns.saturating_sub(1).max(1);
    let layout = Layout { columns, name_columns: name_columns(view, columns), moment };
    let mut rows = vec![Row::new(Style::new().bold(), format::title(&view.execution)).render(columns)];
    rows.extend(layout.stages(view, usize::MAX));
    rows
}

fn title(view: &ExecutionView, columns: usize, now: Timestamp) -> String {
    let execution = &view.execution;
    let elapsed = format::duration(execution.end_time.unwrap_or(now).since_ms(execution.created_at));
    let text = fitted(&format::title(execution), columns.saturating_sub(elapsed.width() + 1));
    Row::new(Style::new().bold(), text).with(Style::new(), format!(" {elapsed}")).render(columns)
}

/// Returns the number of jobs by status, with names or, if the terminal is narrow, with symbols.
fn totals(view: &ExecutionView, columns: usize) -> String {
    let counts: Vec<(JobStatus, &str, usize)> = TOTALS
        .iter()
        .map(|(status, word)| (*status, *word, view.jobs.iter().filter(|job| job.status == *status).count()))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    let canceling = if view.execution.cancel_requested { "canceling, " } else { "" };
    let words: Vec<String> = counts.iter().map(|(_, word, count)| format!("{count} {word}")).collect();
    let unit = if view.jobs.len() == 1 { "job" } else { "jobs" };
    let text = format!(" {canceling}{} {unit}: {}", view.jobs.len(), words.join(", "));
    if text.width() <= columns {
        return Row::new(Style::new().dimmed(), text).render(columns);
    }
    let mut row = Row::new(Style::new(), format!(" {canceling}{}:", view.jobs.len()));
    for (status, _, count) in counts {
        let (sign, style) = format::symbol(status, false);
        row = row.with(style, format!(" {sign}")).with(Style::new(), count.to_string());
    }
    row.render(columns)
}

/// Returns the rows of what the execution waits for, at most `max`. Commands have rows of their own, and are not cut.
fn wait_rows(waits: &[Wait], columns: usize, max: usize) -> Vec<String> {
    let style = AnsiColor::Blue.on_default();
    let mut rows = Vec::new();
    for (index, wait) in waits.iter().enumerate() {
        let mut next = vec![Row::new(style, " ◦ ").with(Style::new(), wait.text.as_str()).render(columns)];
        for line in wait.command.iter().flat_map(|command| wrapped(command, columns.saturating_sub(3))) {
            next.push(Row::new(Style::new(), format!("   {line}")).render(columns));
        }
        let is_last = index + 1 == waits.len();
        if rows.len() + next.len() + usize::from(!is_last) > max && !rows.is_empty() {
            let more = waits.len() - index;
            rows.push(Row::new(style, " ◦ ").with(Style::new(), format!("and {more} more")).render(columns));
            break;
        }
        rows.extend(next);
    }
    rows
}

fn name_columns(view: &ExecutionView, columns: usize) -> usize {
    let longest = view.jobs.iter().map(|job| printable(&job.job_name).width()).max().unwrap_or(0);
    longest.min(MAX_NAME_COLUMNS).min((columns.saturating_sub(FIXED_COLUMNS) / 2).max(8))
}

/// How rows of jobs are laid out.
struct Layout {
    columns: usize,
    name_columns: usize,
    moment: Moment,
}

/// Jobs that share a row.
struct Group<'a> {
    name: &'a str,
    jobs: Vec<&'a JobView>,
}

impl Group<'_> {
    fn rank(&self) -> u8 {
        self.jobs.iter().map(|job| rank(job)).min().unwrap_or(u8::MAX)
    }
}

/// Rank of failed jobs.
const RANK_OF_FAILED: u8 = 0;
/// Rank of running jobs.
const RANK_OF_RUNNING: u8 = 1;

/// The order in which jobs are shown if there is not enough room: failed and running ones first.
const fn rank(job: &JobView) -> u8 {
    match job.status {
        JobStatus::Failed if !job.allow_failure && !job.tolerated => RANK_OF_FAILED,
        JobStatus::Running => RANK_OF_RUNNING,
        JobStatus::Pending if matches!(job.approval, Some(Approval::Awaited)) => 2,
        JobStatus::Queued => 3,
        JobStatus::Failed => 4,
        JobStatus::Canceled => 5,
        JobStatus::Pending => 6,
        JobStatus::Success => 7,
        JobStatus::Skipped => 8,
    }
}

impl Layout {
    /// Returns at most `max` rows: the stages with all jobs if there is room; otherwise jobs by importance, matrices folded.
    fn jobs(&self, view: &ExecutionView, max: usize) -> Vec<String> {
        let stages = self.stages(view, MAX_REASON_ROWS);
        if stages.len() <= max {
            return stages;
        }
        let stages = self.stages(view, 1);
        if stages.len() <= max {
            return stages;
        }
        let mut single: Vec<&JobView> = view.jobs.iter().collect();
        if single.len() <= max {
            single.sort_by_key(|job| rank(job));
            return single.into_iter().flat_map(|job| self.job(job, 1)).collect();
        }
        self.folded(view, max)
    }

    /// Returns all stages and jobs in the plan's order, with at most `max_reason` rows for each reason.
    fn stages(&self, view: &ExecutionView, max_reason: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for stage in &view.stages {
            rows.push(Row::new(Style::new().bold(), format!(" {}", Printable(stage))).render(self.columns));
            for job in view.jobs.iter().filter(|job| job.stage == *stage) {
                rows.extend(self.job(job, max_reason));
            }
        }
        rows
    }

    /// Returns at most `max` rows, the most important first. The jobs of a matrix share a row; those that failed or run have rows of
    /// their own while there is room.
    fn folded(&self, view: &ExecutionView, max: usize) -> Vec<String> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for job in &view.jobs {
            let name = base_name(&job.job_name);
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.jobs.push(job),
                None => groups.push(Group { name, jobs: vec![job] }),
            }
        }
        groups.sort_by_key(Group::rank);
        // Failed and running jobs take the room of others.
        let active = groups.iter().filter(|group| group.rank() <= RANK_OF_RUNNING).count();
        let mut room = max.saturating_sub(active + 1);
        // Rows with the number of jobs that each shows.
        let mut rows: Vec<(u8, String, Vec<&JobView>)> = Vec::new();
        for group in &groups {
            let (active, others) = Self::unfolded(group, &mut room);
            for job in active {
                rows.extend(self.job(job, 1).into_iter().map(|row| (rank(job), row, vec![job])));
            }
            if !others.is_empty() {
                rows.push((lowest_rank(&others), self.group(group.name, &others), others));
            }
        }
        rows.sort_by_key(|(rank, _, _)| *rank);
        if rows.len() > max {
            let omitted: Vec<&JobView> =
                rows.split_off(max.saturating_sub(1)).into_iter().flat_map(|(_, _, jobs)| jobs).collect();
            let text = format!("   … {} more: {}", omitted.len(), counts(&omitted));
            let row = Row::new(Style::new().dimmed(), text).render(self.columns);
            rows.extend((max > 0).then_some((u8::MAX, row, Vec::new())));
        }
        rows.into_iter().map(|(_, row, _)| row).collect()
    }

    /// Splits a group into jobs with rows of their own and jobs that share one: failed and running ones are unfolded if there is `room`
    /// for them, otherwise only failed ones, otherwise none.
    fn unfolded<'a>(group: &Group<'a>, room: &mut usize) -> (Vec<&'a JobView>, Vec<&'a JobView>) {
        if group.jobs.len() == 1 {
            return (group.jobs.clone(), Vec::new());
        }
        for max_rank in [RANK_OF_RUNNING, RANK_OF_FAILED] {
            let (active, others): (Vec<&JobView>, Vec<&JobView>) =
                group.jobs.iter().copied().partition(|job| rank(job) <= max_rank);
            let extra = (active.len() + usize::from(!others.is_empty())).saturating_sub(1);
            if !active.is_empty() && extra <= *room {
                *room -= extra;
                return (active, others);
            }
        }
        (Vec::new(), group.jobs.clone())
    }

    /// Returns the row of several jobs of a matrix.
    fn group(&self, name: &str, jobs: &[&JobView]) -> String {
        let first = jobs.iter().min_by_key(|job| rank(job));
        let (sign, style) = first.map_or(("·", Style::new()), |job| self.symbol(job));
        let name = fitted(&format!("{} ×{}", Printable(name), jobs.len()), self.name_columns);
        Row::new(style, format!("  {sign} "))
            .with(Style::new(), format!("{name}  {:TIME_COLUMNS$}  {}", "", counts(jobs)))
            .render(self.columns)
    }

    /// Returns the rows of a job: one, and more for the rest of the reason of a failure, at most `max_reason`.
    fn job(&self, job: &JobView, max_reason: usize) -> Vec<String> {
        let (sign, style) = self.symbol(job);
        let run_time = format::run_time(job, self.moment.now).unwrap_or_default();
        let name = fitted(&printable(&job.job_name), self.name_columns);
        let start = Row::new(style, format!("  {sign} "))
            .with(Style::new(), format!("{name}  {run_time:>TIME_COLUMNS$}  "));
        let text = format::status_text(job);
        let indentation = 4 + self.name_columns + 2 + TIME_COLUMNS + 2;
        let is_failed = job.status == JobStatus::Failed;
        let lines = wrapped(&text, self.columns.saturating_sub(indentation).max(10));
        if !is_failed || max_reason <= 1 || lines.len() > max_reason && max_reason != usize::MAX {
            return vec![start.with(Style::new(), text).render(self.columns)];
        }
        let mut lines = lines.into_iter();
        let mut rows = vec![start.with(Style::new(), lines.next().unwrap_or_default()).render(self.columns)];
        let continued =
            |line| Row::new(Style::new(), format!("{:indentation$}{line}", "")).render(self.columns);
        rows.extend(lines.map(continued));
        rows
    }

    fn symbol(&self, job: &JobView) -> (&'static str, Style) {
        let (sign, style) = format::status_symbol(job);
        (if job.status == JobStatus::Running { self.moment.spinner } else { sign }, style)
    }
}

fn lowest_rank(jobs: &[&JobView]) -> u8 {
    jobs.iter().map(|job| rank(job)).min().unwrap_or(u8::MAX)
}

/// Returns the number of jobs by status: `3 running, 9 succeeded`.
fn counts(jobs: &[&JobView]) -> String {
    let mut by_status: BTreeMap<usize, usize> = BTreeMap::new();
    for job in jobs {
        if let Some(position) = TOTALS.iter().position(|(status, _)| *status == job.status) {
            *by_status.entry(position).or_default() += 1;
        }
    }
    let parts: Vec<String> =
        by_status.into_iter().map(|(position, count)| format!("{count} {}", TOTALS[position].1)).collect();
    parts.join(", ")
}
