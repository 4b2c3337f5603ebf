//! Moves a job's output from its container to its reporter, and extracts markers and coverage from it.

use crate::{
    engine::Output,
    job::reporter::Reporter,
    job::script,
    log::markers::{MarkerParser, OutputItem},
    log::mask::{MaskStream, SecretMask},
};
use futures_util::StreamExt;
use std::sync::atomic::{AtomicBool, Ordering};
use tidemill_core::api::StepView;
use tidemill_core::execution::{
    assignment::Assignment,
    coverage::{CoverageFinder, CoveragePattern},
};
use tokio::{sync::mpsc, time::Instant};

/// Moves the output of one attempt.
#[derive(Debug)]
pub struct OutputPipe {
    parser: MarkerParser,
    reporter: Reporter,
    /// Confirms that all output so far was read.
    flushed: mpsc::Sender<()>,
    step: Option<(u32, Instant)>,
    /// Number of steps of the script; markers with a higher index are ignored.
    steps: u32,
    /// The search for the coverage figure, if the job declares one.
    coverage: Option<CoverageSearch>,
}

/// Searches the script's output for the coverage, except the echoed commands and the `after_script`.
#[derive(Debug)]
struct CoverageSearch {
    finder: CoverageFinder,
    /// The mask's stream: coverage must not be read from masked text.
    stream: MaskStream,
    script: Vec<String>,
    /// Bytes of the echoed command still to skip.
    echoed: usize,
    is_finished: bool,
}

impl CoverageSearch {
    fn new(pattern: &str, script: &[String]) -> Option<Self> {
        let pattern = CoveragePattern::new(pattern).ok()?;
        let script = script.to_vec();
        Some(Self {
            finder: CoverageFinder::new(pattern),
            stream: MaskStream::default(),
            script,
            echoed: 0,
            is_finished: false,
        })
    }

    fn begin(&mut self, mask: &SecretMask, step: u32) {
        // In the log, the echoed command separates the outputs of two steps.
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.push(b"\n");
        let command = self.script.get(step as usize);
        self.echoed = command.map_or(0, |command| script::echo_line(command).len());
    }

    fn push(&mut self, mask: &SecretMask, bytes: &[u8]) {
        if self.is_finished {
            return;
        }
        let rest = &bytes[self.echoed.min(bytes.len())..];
        self.echoed -= bytes.len() - rest.len();
        self.finder.push(&mask.push(&mut self.stream, rest));
    }

    fn finish(mut self, mask: &SecretMask) -> Option<f64> {
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.finish()
    }
}

impl OutputPipe {
    /// Creates a pipe for an attempt at `assignment`, whose markers have this nonce.
    pub fn new(nonce: &str, reporter: Reporter, flushed: mpsc::Sender<()>, assignment: &Assignment) -> Self {
        let pattern = assignment.extras.coverage.as_ref();
        let coverage = pattern.and_then(|pattern| CoverageSearch::new(pattern, &assignment.script));
        let steps = u32::try_from(assignment.script.len()).unwrap_or(u32::MAX);
        Self { parser: MarkerParser::new(nonce), reporter, flushed, step: None, steps, coverage }
    }

    /// Moves output until it ends. Sets `started` when the script starts; no command of the job runs before.
    pub async fn run(mut self, mut output: Output, started: &AtomicBool) -> Self {
        while let Some(Ok(chunk)) = output.next().await {
            let bytes = chunk.into_bytes();
            for item in self.parser.push(&bytes) {
                match item {
                    OutputItem::Output(bytes) => {
                        if let Some(search) = &mut self.coverage {
                            search.push(self.reporter.mask(), &bytes);
                        }
                        self.reporter.log(&bytes).await;
                    }
                    OutputItem::ScriptStarted => started.store(true, Ordering::Release),
                    OutputItem::StepStarted(index) => self.begin_step(index),
                    OutputItem::AfterScriptStarted => {
                        if let Some(search) = &mut self.coverage {
                            search.is_finished = true;
                        }
                    }
                    // If the channel is full, the job printed the marker itself; it may be dropped.
                    OutputItem::Flush => drop(self.flushed.try_send(())),
                }
            }
        }
        self.reporter.log(&self.parser.finish()).await;
        self
    }

    /// Ends the last step with the script's exit code; returns the coverage that the script printed.
    pub fn finish(mut self, exit_code: i32) -> Option<f64> {
        self.end_step(exit_code);
        self.coverage.and_then(|search| search.finish(self.reporter.mask()))
    }

    /// Steps only go forward, so that a job that prints markers itself reports no more steps than its script has.
    fn begin_step(&mut self, index: u32) {
        if index >= self.steps || self.step.is_some_and(|(current, _)| index <= current) {
            return;
        }
        self.end_step(0);
        self.reporter.step(StepView { index, exit_code: None, duration_ms: None });
        self.step = Some((index, Instant::now()));
        if let Some(search) = &mut self.coverage {
            search.begin(self.reporter.mask(), index);
        }
    }

    fn end_step(&mut self, exit_code: i32) {
        if let Some((index, started)) = self.step.take() {
            let duration_ms = u64::try_from(started.elapsed().as_millis()).ok();
            self.reporter.step(StepView { index, exit_code: Some(exit_code), duration_ms });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::CoverageSearch;
    use crate::{job::script, log::mask::SecretMask};

    #[test]
    fn coverage_is_found_in_script_output_only_for_any_chunk_size() {
        let script = ["echo 1%\necho 2%\n", "cat log # 3%", "true"].map(str::to_owned);
        let echoed: Vec<String> = script.iter().map(|command| script::echo_line(command)).collect();
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
                let mut search = CoverageSearch::new(r"(\d+)%", &script).unwrap();
                for ((step, echoed), printed) in (0..).zip(&echoed).zip(printed) {
                    search.begin(&mask, step);
                    for chunk in format!("{echoed}{printed}").as_bytes().chunks(size) {
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
