//! Formats annotations and summaries of jobs.

use crate::output::{Printable, printable};
use std::io::{self, Write};
use tidemill_core::execution::report::{Report, SummaryText};
use tidemill_core::summary::view::JobAnnotation;

/// Maximum number of annotations that are printed.
const MAX_PRINTED: usize = 100;
/// Maximum number of lines of an annotation's message.
const MAX_MESSAGE_LINES: usize = 3;
/// Maximum number of lines of a summary.
const MAX_SUMMARY_LINES: usize = 200;

/// Prints the annotations and summaries of a report, if it has any.
pub fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if !report.annotations.is_empty() {
        writeln!(out, "\nannotations: {}", report.annotation_counts)?;
    }
    for annotation in report.annotations.iter().take(MAX_PRINTED) {
        print_annotation(out, annotation)?;
    }
    let more = report.annotations.len().saturating_sub(MAX_PRINTED);
    if more > 0 {
        writeln!(out, "  {more} more; `--format json` has all of them")?;
    }
    report.summaries.iter().try_for_each(|summary| print_summary(out, summary))
}

fn print_annotation(out: &mut impl Write, of: &JobAnnotation) -> io::Result<()> {
    let annotation = &of.annotation;
    let place = annotation.place().map(|place| format!(" {place}:")).unwrap_or_default();
    let title = annotation.title.as_deref().unwrap_or_default();
    let lines: Vec<&str> = annotation.message.lines().filter(|line| !line.trim().is_empty()).collect();
    // A message of one line follows its title.
    let (first, rest) = match (title, lines.as_slice()) {
        ("", [first, rest @ ..]) => ((*first).to_owned(), rest),
        (title, [only]) if *only == title => (title.to_owned(), &[][..]),
        (title, [only]) => (format!("{title}: {only}"), &[][..]),
        (title, lines) => (title.to_owned(), lines),
    };
    let others = if of.other_jobs > 0 { format!(" and {} more", of.other_jobs) } else { String::new() };
    let level = annotation.level.as_str();
    let job = Printable(&of.job_name);
    writeln!(out, "  {level}:{} {} ({job}{others})", Printable(&place), printable(&first))?;
    for line in rest.iter().take(MAX_MESSAGE_LINES) {
        writeln!(out, "    {}", Printable(line))?;
    }
    Ok(())
}

fn print_summary(out: &mut impl Write, summary: &SummaryText) -> io::Result<()> {
    writeln!(out, "\nsummary of {}:", Printable(&summary.view.job_name))?;
    let Some(markdown) = &summary.markdown else {
        return writeln!(out, "  not shown: the summaries of the execution have more than 1 MiB");
    };
    let lines: Vec<&str> = markdown.trim_end().lines().collect();
    for line in lines.iter().take(MAX_SUMMARY_LINES) {
        writeln!(out, "{}", format!("  {}", Printable(line)).trim_end())?;
    }
    let more = lines.len().saturating_sub(MAX_SUMMARY_LINES);
    if more > 0 {
        writeln!(out, "  {more} more lines; `--format json` has all of them")?;
    }
    Ok(())
}
