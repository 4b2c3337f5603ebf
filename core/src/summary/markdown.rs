//! The summary of a job: text in GitHub-flavoured Markdown that its scripts append to a file.

use crate::text::{is_control, prefix};

/// The file that `TIDEMILL_SUMMARY` names, in the memory of the job's container: it is never part of the workspace.
pub const SUMMARY_FILE: &str = "/dev/shm/tidemill-summary.md";
/// The variable with its path.
pub const SUMMARY_VARIABLE: &str = "TIDEMILL_SUMMARY";
/// Maximum size of the summary of a job in bytes.
pub const MAX_SUMMARY_BYTES: usize = 256 << 10;
/// Maximum total size in bytes of the summaries that are shown of an execution.
pub const MAX_SHOWN_BYTES: u64 = 1 << 20;

/// What a summary that is cut ends with.
const CUT_NOTE: &str = "\n\n*The rest of this summary is left out: it has more than 256 KiB.*\n";

/// Returns a summary within its bound: without control characters, and if it is longer or `is_cut`, cut after a line, with a note.
#[must_use]
pub fn bounded(text: &str, is_cut: bool) -> String {
    let is_shown = |c: &char| matches!(c, '\n' | '\t') || !is_control(*c);
    let shown: String = text.replace("\r\n", "\n").chars().filter(is_shown).collect();
    if shown.len() <= MAX_SUMMARY_BYTES && !is_cut {
        return shown;
    }
    let start = prefix(&shown, MAX_SUMMARY_BYTES - CUT_NOTE.len());
    // A single long line is cut within.
    let lines = start.rfind('\n').map_or(start, |end| &start[..end]);
    format!("{}{CUT_NOTE}", lines.trim_end())
}

#[cfg(test)]
mod tests {
    use super::{CUT_NOTE, MAX_SUMMARY_BYTES, bounded};
    use proptest::prelude::*;

    #[test]
    fn summary_is_cut_after_a_line_with_a_note() {
        assert_eq!(bounded("# Title\r\n\ta\0\u{1b}[1m|b\n", false), "# Title\n\ta[1m|b\n");
        let line = "ä".repeat(100) + "\n";
        let cut = bounded(&line.repeat(2_000), false);
        let kept = cut.strip_suffix(CUT_NOTE).unwrap_or_default();
        assert!(kept.lines().all(|kept| kept.len() == 200), "only whole lines");
        assert!(cut.len() <= MAX_SUMMARY_BYTES && cut.len() > MAX_SUMMARY_BYTES - 400);
        let long = bounded(&"ä".repeat(MAX_SUMMARY_BYTES), false);
        assert!(
            long.ends_with(CUT_NOTE)
                && long.len() <= MAX_SUMMARY_BYTES
                && long.len() > MAX_SUMMARY_BYTES - 400
        );
        assert_eq!(bounded("a\nbc", true), format!("a{CUT_NOTE}"), "the last line is incomplete");
        assert_eq!(bounded("", false), "");
    }

    proptest! {
        #[test]
        fn any_text_is_within_the_bound(text in "\\PC{0,300}", times in 0..2_000_usize, is_cut: bool) {
            let shown = bounded(&text.repeat(times), is_cut);
            prop_assert!(shown.len() <= MAX_SUMMARY_BYTES);
            if !is_cut {
                prop_assert_eq!(bounded(&shown, false), shown);
            }
        }
    }
}
