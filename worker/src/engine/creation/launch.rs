//! How a container's first process becomes the boot script: a shell directly, or an entry point that starts a shell.

use super::{
    super::{
        container::Container,
        manager::{DockerManager, Output},
    },
    order::{ContainerOrder, StartCommand, is_command_shell, is_shell},
};
use bollard::container::LogOutput;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tidemill_core::execution::{
    assignment::ImageOptions,
    failure::{FailureKind, FailureReason},
};

/// Where images have a shell. The first is looked up on the image's `PATH`, the others are tried if it is not there.
const SHELLS: [&str; 7] =
    ["sh", "/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/busybox/sh"];
/// How long an entry point may take to start the shell.
const MAX_ENTRYPOINT_TIME: Duration = Duration::from_secs(30);
/// Bytes of an entry point's output that are retained, from its end.
const MAX_ENTRYPOINT_OUTPUT: usize = 64 << 10;
/// Characters of an entry point's output in a message.
const MAX_QUOTED_OUTPUT: usize = 400;
/// Maximum number of images whose entry point is known not to start a shell.
const MAX_TOOL_IMAGES: usize = 1000;

/// The entry point that starts the shell of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrypoint<'a> {
    /// None: the shell is the first process.
    None,
    /// The one that the pipeline file names.
    Declared(&'a [String]),
    /// The image's own.
    OfImage(&'a [String]),
}

impl<'a> Entrypoint<'a> {
    fn of(options: &'a ImageOptions, image: &'a [String]) -> Self {
        match options.entrypoint.as_deref() {
            Some([]) => Self::None,
            Some(words) => Self::Declared(words),
            None if image.is_empty() || is_interactive_shell(image) => Self::None,
            None => Self::OfImage(image),
        }
    }
}

/// Whether an entry point is a shell that would take `sh` as the name of a script.
fn is_interactive_shell(words: &[String]) -> bool {
    is_shell(words) && !is_command_shell(words)
}

impl DockerManager {
    /// Creates and starts a container that waits in the boot script.
    pub(in crate::engine) async fn launch(
        self: &Arc<Self>,
        order: &ContainerOrder<'_>,
        overlay: bool,
    ) -> Result<Container, FailureReason> {
        let entrypoint = Entrypoint::of(&order.preparation.image_options, &order.image.entrypoint);
        let words = match entrypoint {
            Entrypoint::None => return self.launch_shell(order, overlay).await,
            Entrypoint::OfImage(_) if self.tool_images().contains(&order.image.id) => {
                return self.launch_shell(order, overlay).await;
            }
            Entrypoint::Declared(words) | Entrypoint::OfImage(words) => words,
        };
        let token = uuid::Uuid::now_v7().simple().to_string();
        let output = match self.try_create(order, overlay, StartCommand::entrypoint(words, &token)).await {
            Ok(mut container) => match wait_until_ready(&mut container, &token).await {
                Ok(()) => return Ok(container),
                Err(output) => {
                    self.dispose_later(container);
                    output
                }
            },
            // The entry point does not exist.
            Err(reason) if reason.kind == FailureKind::ImageUnavailable => reason.message.into_bytes(),
            Err(reason) => return Err(reason),
        };
        if let Entrypoint::Declared(_) = entrypoint {
            let message = format!(
                "the entry point `{}` did not start the shell of the job; it must run the command that it gets as \
                 arguments, as `exec \"$@\"` does; it printed: {}",
                words.join(" "),
                quote_end(&output)
            );
            return Err(FailureReason::new(FailureKind::ImageUnavailable, message));
        }
        let mut container = self.launch_shell(order, overlay).await?;
        let mut known = self.tool_images();
        if known.len() >= MAX_TOOL_IMAGES {
            known.clear();
        }
        known.insert(order.image.id.clone());
        drop(known);
        let note = format!(
            "the entry point `{}` of the image did not start a shell, so the script runs without it; \
             `entrypoint: [\"\"]` skips it\n",
            words.join(" ")
        );
        prepend(&mut container.output, note.into_bytes());
        Ok(container)
    }

    async fn launch_shell(
        self: &Arc<Self>,
        order: &ContainerOrder<'_>,
        overlay: bool,
    ) -> Result<Container, FailureReason> {
        let mut failure = None;
        for shell in SHELLS {
            match self.try_create(order, overlay, StartCommand::shell(shell)).await {
                // The image does not have this shell.
                Err(reason) if reason.kind == FailureKind::ImageUnavailable => {
                    failure.get_or_insert(reason);
                }
                other => return other,
            }
        }
        let message = failure.map(|reason| reason.message).unwrap_or_default();
        Err(FailureReason::new(FailureKind::ImageUnavailable, message))
    }

    fn tool_images(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<String>> {
        self.tool_images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the boot script prints the marker of `token`, which is removed from the output. Returns the output if it does not.
async fn wait_until_ready(container: &mut Container, token: &str) -> Result<(), Vec<u8>> {
    let Some(mut output) = container.output.take() else { return Ok(()) };
    let marker = format!("\u{1e}tm:{token}:ready\u{1e}").into_bytes();
    let mut printed = Vec::new();
    let ready = async {
        while let Some(Ok(chunk)) = output.next().await {
            printed.extend_from_slice(&chunk.into_bytes());
            if let Some(at) = memchr::memmem::find(&printed, &marker) {
                printed.drain(at..at + marker.len());
                return true;
            }
            let excess = printed.len().saturating_sub(MAX_ENTRYPOINT_OUTPUT);
            printed.drain(..excess);
        }
        false
    };
    if tokio::time::timeout(MAX_ENTRYPOINT_TIME, ready).await != Ok(true) {
        return Err(printed);
    }
    container.output = Some(output);
    prepend(&mut container.output, printed);
    Ok(())
}

/// Puts bytes in front of an output.
fn prepend(output: &mut Option<Output>, bytes: Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    if let Some(rest) = output.take() {
        let first = LogOutput::Console { message: Bytes::from(bytes) };
        *output = Some(Box::pin(stream::once(async move { Ok(first) }).chain(rest)));
    }
}

/// Returns the end of an output for a message.
fn quote_end(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let skipped = text.chars().count().saturating_sub(MAX_QUOTED_OUTPUT);
    text.chars().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::{Entrypoint, ImageOptions, StartCommand, is_command_shell, is_interactive_shell, quote_end};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn shells_are_recognized_with_their_options() {
        for (text, takes_command, takes_script) in [
            ("/bin/sh -c", true, false),
            ("bash -lc", true, false),
            ("bash -l -c", true, false),
            ("/bin/bash", false, true),
            ("bash --login", false, true),
            ("/usr/bin/tini --", false, false),
            ("docker-entrypoint.sh", false, false),
            ("/bin/sh -c start", false, false),
            ("", false, false),
        ] {
            let words = words(text);
            assert_eq!(
                (is_command_shell(&words), is_interactive_shell(&words)),
                (takes_command, takes_script),
                "{text}"
            );
        }
    }

    #[test]
    fn declared_entry_point_takes_precedence_over_the_images() {
        let (image, own) = (words("/tool"), words("/entry --now"));
        let options = |entrypoint| ImageOptions { entrypoint, ..ImageOptions::default() };
        assert_eq!(Entrypoint::of(&options(None), &image), Entrypoint::OfImage(&image));
        assert_eq!(Entrypoint::of(&options(Some(own.clone())), &image), Entrypoint::Declared(&own));
        assert_eq!(Entrypoint::of(&options(Some(Vec::new())), &image), Entrypoint::None);
        assert_eq!(Entrypoint::of(&options(None), &[]), Entrypoint::None);
        assert_eq!(Entrypoint::of(&options(None), &words("/bin/bash")), Entrypoint::None);
    }

    #[test]
    fn entry_point_gets_the_shells_command_line() {
        let StartCommand { entrypoint, command } = StartCommand::entrypoint(&words("/tool --x"), "t");
        assert_eq!(entrypoint, ["/tool", "--x"]);
        assert_eq!(
            (command[0].as_str(), command[1].as_str(), command[3].as_str(), command[4].as_str()),
            ("sh", "-c", "boot", "t")
        );
        assert_eq!(StartCommand::entrypoint(&words("bash -lc"), "t").command.len(), 3);
        assert_eq!(quote_end(b" \x1b[1musage\n"), "[1musage");
        assert_eq!(quote_end(&[b'x'; 1000]).len(), 400);
    }
}
