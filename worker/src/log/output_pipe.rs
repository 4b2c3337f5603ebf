//! Moves a job's output from its container to its reporter, and extracts markers and coverage from it.

use crate::{
    engine::Output,
    job::{dispatcher::Event, reporter::Reporter, script},
    log::commands::CommandScanner,
    log::markers::{MarkerParser, OutputItem},
    log::mask::{MaskStream, SecretMask},
};
use futures_util::StreamExt;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tidemill_core::api::StepView;
use tidemill_core::execution::{
    assignment::Assignment,
    coverage::{CoverageFinder, CoveragePattern},
    debug::HoldPoint,
};
use tidemill_core::summary::{annotation::AnnotationSet, markdown::MAX_SUMMARY_BYTES};
use tokio::{sync::mpsc, time::Instant};

/// What markers in the output say about the script. A job can forge all but the last one.
#[derive(Debug, Default)]
pub struct ScriptProgress {
    /// The script has started; no command of the job ran before.
    pub has_started: AtomicBool,
    /// According to the last marker, the script ended by itself. Once all output was read and the container has exited with a
    /// code of its own, this is true for certain.
    pub has_completed: AtomicBool,
}

/// What the pipe sends while it moves output.
#[derive(Debug, Clone)]
pub struct PipeEvents {
    /// Confirms that all output so far was read, and says how the script ended.
    pub flushed: mpsc::Sender<HoldPoint>,
    /// The start of the `after_script`.
    pub events: mpsc::UnboundedSender<Event>,
}

/// What the output of an ended script says, besides its log.
#[derive(Debug, Default)]
pub struct ScriptFindings {
    /// The coverage that the script printed.
    pub coverage: Option<f64>,
    /// The annotations that its commands are.
    pub annotations: AnnotationSet,
    /// The job's summary, unmasked; it is cut if it has more than [`MAX_SUMMARY_BYTES`].
    pub summary: Vec<u8>,
}

/// Moves the output of one attempt.
#[derive(Debug)]
pub struct OutputPipe {
    parser: MarkerParser,
    reporter: Reporter,
    events: PipeEvents,
    /// The current step as reported, with its start.
    step: Option<(StepView, Instant)>,
    /// How long the last step took, once the script has ended.
    last_duration: Option<Duration>,
    /// Items of the script; markers with a higher index are ignored.
    script: Vec<String>,
    after_script: Vec<String>,
    /// Items of the `after_script` that were shown.
    after_shown: usize,
    /// The search for the coverage figure, if the job declares one.
    coverage: Option<CoverageSearch>,
    commands: CommandScanner,
    /// The summary so far, once it has started.
    summary: Option<Vec<u8>>,
    /// Whether the last output has an unfinished line, which a command's line must not continue.
    is_in_line: bool,
}

/// Searches the script's output for the coverage, except the `after_script`.
#[derive(Debug)]
struct CoverageSearch {
    finder: CoverageFinder,
    /// The mask's stream: coverage must not be read from masked text.
    stream: MaskStream,
    is_finished: bool,
}

impl CoverageSearch {
    fn new(pattern: &str) -> Option<Self> {
        let finder = CoverageFinder::new(CoveragePattern::new(pattern).ok()?);
        Some(Self { finder, stream: MaskStream::default(), is_finished: false })
    }

    fn begin(&mut self, mask: &SecretMask) {
        // In the log, the commands separate the outputs of two steps.
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.push(b"\n");
    }

    fn push(&mut self, mask: &SecretMask, bytes: &[u8]) {
        if !self.is_finished {
            self.finder.push(&mask.push(&mut self.stream, bytes));
        }
    }

    fn finish(mut self, mask: &SecretMask) -> Option<f64> {
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.finish()
    }
}

impl OutputPipe {
    /// Creates a pipe for an attempt at `assignment`, whose markers have this nonce.
    pub fn new(nonce: &str, reporter: Reporter, events: PipeEvents, assignment: &Assignment) -> Self {
        let pattern = assignment.extras.coverage.as_ref();
        Self {
            parser: MarkerParser::new(nonce),
            reporter,
            events,
            step: None,
            last_duration: None,
            script: assignment.script.clone(),
            after_script: assignment.extras.after_script.clone(),
            after_shown: 0,
            coverage: pattern.and_then(|pattern| CoverageSearch::new(pattern)),
            commands: CommandScanner::default(),
            summary: None,
            is_in_line: false,
        }
    }

    /// Moves output until it ends, and records the script's progress.
    pub async fn run(mut self, mut output: Output, progress: &ScriptProgress) -> Self {
        while let Some(Ok(chunk)) = output.next().await {
            let bytes = chunk.into_bytes();
            for item in self.parser.push(&bytes) {
                match item {
                    OutputItem::Output(bytes) => {
                        if let Some(summary) = &mut self.summary {
                            // One byte more shows that it is longer.
                            let remaining = (MAX_SUMMARY_BYTES + 1).saturating_sub(summary.len());
                            summary.extend_from_slice(&bytes[..remaining.min(bytes.len())]);
                            continue;
                        }
                        self.commands.push(self.reporter.mask(), &bytes);
                        if let Some(search) = &mut self.coverage {
                            search.push(self.reporter.mask(), &bytes);
                        }
                        self.is_in_line = bytes.last().map_or(self.is_in_line, |last| *last != b'\n');
                        self.reporter.log(&bytes).await;
                    }
                    OutputItem::ScriptStarted => progress.has_started.store(true, Ordering::Release),
                    OutputItem::StepStarted(first, last) => self.begin_step(first, last).await,
                    OutputItem::AfterScriptStarted(first, last) => self.begin_after_script(first, last).await,
                    OutputItem::ScriptEnded => self.end_script(),
                    OutputItem::SummaryStarted => self.summary = Some(Vec::new()),
                    OutputItem::Flush { was_stopped, exit_code } => {
                        progress.has_completed.store(!was_stopped, Ordering::Release);
                        // If the channel is full, the job printed the marker itself; it may be dropped.
                        let _ =
                            self.events.flushed.try_send(HoldPoint::AfterScript { exit_code, was_stopped });
                    }
                }
            }
        }
        self.reporter.log(&self.parser.finish()).await;
        self
    }

    /// Ends the last step with the script's exit code; returns what the output says.
    pub fn finish(mut self, exit_code: i32) -> ScriptFindings {
        self.end_step(exit_code);
        let mask = self.reporter.mask();
        ScriptFindings {
            coverage: self.coverage.and_then(|search| search.finish(mask)),
            annotations: self.commands.finish(mask),
            summary: self.summary.unwrap_or_default(),
        }
    }

    /// Begins a step: shows the commands of its items in the log. Steps only go forward, so that a job that prints markers itself
    /// reports no more steps than its script has.
    async fn begin_step(&mut self, first: u32, last: u32) {
        let is_repeated = self.step.as_ref().is_some_and(|(current, _)| first <= current.index);
        let Some(commands) = shown(&self.script, first, last).filter(|_| !is_repeated) else { return };
        self.end_step(0);
        if let Some(search) = &mut self.coverage {
            search.begin(self.reporter.mask());
        }
        let started = Instant::now();
        let is_in_line = std::mem::take(&mut self.is_in_line);
        if is_in_line {
            // As in the log, the commands stand on a line of their own.
            self.commands.push(self.reporter.mask(), b"\n");
        }
        self.step = Some((self.reporter.begin_step(first, is_in_line, &commands).await, started));
    }

    /// Adds the lines of commands to the log.
    async fn show(&mut self, commands: &str) {
        if std::mem::take(&mut self.is_in_line) {
            self.commands.push(self.reporter.mask(), b"\n");
            self.reporter.log(b"\n").await;
        }
        self.reporter.log(commands.as_bytes()).await;
    }

    fn end_script(&mut self) {
        if let Some(search) = &mut self.coverage {
            search.is_finished = true;
        }
        if let Some((_, started)) = &self.step {
            self.last_duration.get_or_insert(started.elapsed());
        }
        drop(self.events.events.send(Event::AfterScriptStarted));
    }

    async fn begin_after_script(&mut self, first: u32, last: u32) {
        if (first as usize) < self.after_shown {
            return;
        }
        let Some(commands) = shown(&self.after_script, first, last) else { return };
        self.after_shown = last as usize + 1;
        self.show(&commands).await;
    }

    fn end_step(&mut self, exit_code: i32) {
        if let Some((step, started)) = self.step.take() {
            let duration = self.last_duration.take().unwrap_or_else(|| started.elapsed());
            let duration_ms = u64::try_from(duration.as_millis()).ok();
            self.reporter.step(StepView { exit_code: Some(exit_code), duration_ms, ..step });
        }
    }
}

/// The lines of the log that show these items; nothing when there are no such items.
fn shown(items: &[String], first: u32, last: u32) -> Option<String> {
    let items = items.get(first as usize..=last as usize)?;
    Some(items.iter().map(|item| script::echo_line(item)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::CoverageSearch;
    use crate::log::mask::SecretMask;

    #[test]
    fn coverage_is_found_in_script_output_only_for_any_chunk_size() {
        let mask = SecretMask::new(["77%77"]).unwrap();
        for (printed, after, share) in [
            (["", "", ""], "", None),
            (["1%\n2%\n", "", ""], "", Some(2.0)),
            (["1%\n2%\n", "50%\nnothing\n", ""], "4%\n", Some(50.0)),
            (["", "60%", ""], "", Some(60.0)),
            (["", "6", "0%"], "", Some(0.0)),
            (["9%\n", "77%77\n", ""], "", Some(9.0)),
            (["9%\n", "77%7", ""], "", Some(77.0)),
        ] {
            for size in 1..20 {
                let mut search = CoverageSearch::new(r"(\d+)%").unwrap();
                for printed in printed {
                    search.begin(&mask);
                    for chunk in printed.as_bytes().chunks(size) {
                        search.push(&mask, chunk);
                    }
                }
                search.is_finished = true;
                search.push(&mask, after.as_bytes());
                assert_eq!(search.finish(&mask), share, "{printed:?} in chunks of {size}");
            }
        }
    }
}
