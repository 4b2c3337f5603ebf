//! Records a shell in the log of its job.

use crate::{job::reporter::Reporter, log::mask::MaskStream};

/// What stands before each line of a shell in the log.
const PREFIX: &[u8] = b"[shell] ";
/// The longest line; a longer one is recorded as several.
const MAX_LINE: usize = 4 << 10;

/// Records the output of one shell, which shows what is typed as well. Secrets of the job are masked, apart from what the job itself
/// prints at the same time.
#[derive(Debug)]
pub struct Recording {
    reporter: Reporter,
    stream: MaskStream,
    line: Vec<u8>,
}

impl Recording {
    /// Records that a shell was opened.
    pub async fn start(reporter: &Reporter) -> Self {
        reporter.log_line("[shell] a user opened a shell").await;
        Self { reporter: reporter.clone(), stream: MaskStream::default(), line: Vec::new() }
    }

    /// Records output.
    pub async fn add(&mut self, bytes: &[u8]) {
        let masked = self.reporter.mask().push(&mut self.stream, bytes);
        self.add_masked(&masked).await;
    }

    /// Records the rest, and that the shell was closed.
    pub async fn finish(mut self) {
        let rest = self.reporter.mask().finish(&mut self.stream);
        self.add_masked(&rest).await;
        if !self.line.is_empty() {
            self.end_line().await;
        }
        self.reporter.log_line("[shell] the shell was closed").await;
    }

    async fn add_masked(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
            }
            if *byte == b'\n' || self.line.len() >= MAX_LINE {
                self.end_line().await;
            }
        }
    }

    async fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = [PREFIX, line.strip_suffix(b"\r").unwrap_or(&line), b"\n"].concat();
        self.reporter.log(&text).await;
    }
}
