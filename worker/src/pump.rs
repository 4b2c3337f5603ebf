//! What a job prints, moved from its container to its reports, and looked through on the way.

use crate::{
    engine::Output,
    markers::{Item, MarkerParser},
    mask::{Mask, Stream},
    orders,
    report::Reporter,
};
use futures_util::StreamExt;
use std::sync::atomic::{AtomicBool, Ordering};
use tidemill_core::{
    api::StepView,
    assignment::Assignment,
    coverage::{Finder, Pattern},
};
use tokio::{sync::mpsc, time::Instant};

/// Moves the output of one attempt.
#[derive(Debug)]
pub struct Pump {
    parser: MarkerParser,
    reporter: Reporter,
    /// Takes word that all output so far was read.
    flushed: mpsc::Sender<()>,
    step: Option<(u32, Instant)>,
    /// How many steps the script has: others are not shown.
    steps: u32,
    /// What is looked for in what the script prints.
    wanted: Option<Wanted>,
}

/// The share of covered lines, looked for in what the script prints: neither in the commands that are shown nor after it.
#[derive(Debug)]
struct Wanted {
    finder: Finder,
    /// Where the mask stands: what the log does not show must not be found either.
    stream: Stream,
    script: Vec<String>,
    /// How many of the next bytes are the command that begins.
    shown: usize,
    is_over: bool,
}

impl Wanted {
    fn new(pattern: &str, script: &[String]) -> Option<Self> {
        let pattern = Pattern::new(pattern).ok()?;
        let script = script.to_vec();
        Some(Self {
            finder: Finder::new(pattern),
            stream: Stream::default(),
            script,
            shown: 0,
            is_over: false,
        })
    }

    fn begin(&mut self, mask: &Mask, step: u32) {
        // In the log, the command that is shown comes between.
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.push(b"\n");
        let command = self.script.get(step as usize);
        self.shown = command.map_or(0, |command| orders::shown(command).len());
    }

    fn push(&mut self, mask: &Mask, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let rest = &bytes[self.shown.min(bytes.len())..];
        self.shown -= bytes.len() - rest.len();
        self.finder.push(&mask.push(&mut self.stream, rest));
    }

    fn finish(mut self, mask: &Mask) -> Option<f64> {
        self.finder.push(&mask.finish(&mut self.stream));
        self.finder.finish()
    }
}

impl Pump {
    /// A pump for an attempt at `assignment`, whose markers have this nonce.
    pub fn new(nonce: &str, reporter: Reporter, flushed: mpsc::Sender<()>, assignment: &Assignment) -> Self {
        let pattern = assignment.extras.coverage.as_ref();
        let wanted = pattern.and_then(|pattern| Wanted::new(pattern, &assignment.script));
        let steps = u32::try_from(assignment.script.len()).unwrap_or(u32::MAX);
        Self { parser: MarkerParser::new(nonce), reporter, flushed, step: None, steps, wanted }
    }

    /// Moves output until it ends; `begun` is set as the script begins, before which nothing of the job runs.
    pub async fn run(mut self, mut output: Output, begun: &AtomicBool) -> Self {
        while let Some(Ok(chunk)) = output.next().await {
            let bytes = chunk.into_bytes();
            for item in self.parser.push(&bytes) {
                match item {
                    Item::Output(bytes) => {
                        if let Some(wanted) = &mut self.wanted {
                            wanted.push(self.reporter.mask(), &bytes);
                        }
                        self.reporter.log(&bytes).await;
                    }
                    Item::Begun => begun.store(true, Ordering::Release),
                    Item::StepBegan(index) => self.begin_step(index),
                    Item::AfterBegan => {
                        if let Some(wanted) = &mut self.wanted {
                            wanted.is_over = true;
                        }
                    }
                    // Who does not wait for it, as a job that prints the marker, does not get in the way.
                    Item::Flush => drop(self.flushed.try_send(())),
                }
            }
        }
        self.reporter.log(&self.parser.finish()).await;
        self
    }

    /// Ends the last step with the script's exit code; gives the share of covered lines that the script printed.
    pub fn finish(mut self, exit_code: i32) -> Option<f64> {
        self.end_step(exit_code);
        self.wanted.and_then(|wanted| wanted.finish(self.reporter.mask()))
    }

    /// Steps go forward only: a job that prints their markers itself cannot have more than its script has.
    fn begin_step(&mut self, index: u32) {
        if index >= self.steps || self.step.is_some_and(|(current, _)| index <= current) {
            return;
        }
        self.end_step(0);
        self.reporter.step(StepView { index, exit_code: None, duration_ms: None });
        self.step = Some((index, Instant::now()));
        if let Some(wanted) = &mut self.wanted {
            wanted.begin(self.reporter.mask(), index);
        }
    }

    fn end_step(&mut self, exit_code: i32) {
        if let Some((index, begun)) = self.step.take() {
            let duration_ms = u64::try_from(begun.elapsed().as_millis()).ok();
            self.reporter.step(StepView { index, exit_code: Some(exit_code), duration_ms });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Wanted;
    use crate::{mask::Mask, orders};

    #[test]
    fn only_what_the_script_prints_is_looked_at_however_it_is_cut() {
        let script = ["echo 1%\necho 2%\n", "cat log # 3%", "true"].map(str::to_owned);
        let shown: Vec<String> = script.iter().map(|command| orders::shown(command)).collect();
        let mask = Mask::new(["77%77"]).unwrap();
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
                let mut wanted = Wanted::new(r"(\d+)%", &script).unwrap();
                for ((step, shown), printed) in (0..).zip(&shown).zip(printed) {
                    wanted.begin(&mask, step);
                    for chunk in format!("{shown}{printed}").as_bytes().chunks(size) {
                        wanted.push(&mask, chunk);
                    }
                }
                wanted.is_over = true;
                wanted.push(&mask, after.as_bytes());
                assert_eq!(wanted.finish(&mask), share, "{printed:?} in pieces of {size}");
            }
        }
    }
}
