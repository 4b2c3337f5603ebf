//! The note of a pull request (merge request): one comment that is edited.

use super::message::Method;
use crate::repository::webhook::Provider;
use serde::Deserialize;

/// Maximum length of a note in bytes; GitHub takes 65,536 characters.
pub const MAX_NOTE_LEN: usize = 60_000;
/// Number of bytes of [`MAX_NOTE_LEN`] that details cannot use, so that each pipeline has its headline.
const RESERVED_LEN: usize = 12_000;

/// What a note says about one execution, as Markdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteSection<'a> {
    /// What happened, in one line.
    pub headline: &'a str,
    /// The details; they are omitted where there is no space for them.
    pub details: &'a str,
}

/// Returns the text of a note, of at most [`MAX_NOTE_LEN`] bytes.
#[must_use]
pub fn note_text<'a>(sections: impl IntoIterator<Item = NoteSection<'a>>) -> String {
    let mut text = String::from("### Tidemill\n");
    for NoteSection { headline, details } in sections {
        if text.len() + headline.len() + 2 > MAX_NOTE_LEN {
            break;
        }
        text.push('\n');
        text.push_str(headline);
        text.push('\n');
        if !details.is_empty() && text.len() + details.len() + 2 <= MAX_NOTE_LEN - RESERVED_LEN {
            text.push('\n');
            text.push_str(details);
            text.push('\n');
        }
    }
    text
}

/// Returns method and path below the repository's API with which a new note is written, or the text of the one with this id is
/// replaced. `None`: the provider has no notes.
#[must_use]
pub fn note_path(provider: Provider, number: u64, id: Option<u64>) -> Option<(Method, String)> {
    Some(match (provider, id) {
        (Provider::Github | Provider::Gitea, None) => (Method::Post, format!("/issues/{number}/comments")),
        (Provider::Github | Provider::Gitea, Some(id)) => (Method::Patch, format!("/issues/comments/{id}")),
        (Provider::Gitlab, None) => (Method::Post, format!("/merge_requests/{number}/notes")),
        (Provider::Gitlab, Some(id)) => (Method::Put, format!("/merge_requests/{number}/notes/{id}")),
        (Provider::Bitbucket, _) => return None,
    })
}

#[derive(Deserialize)]
struct NoteBody {
    id: u64,
}

/// Returns the id of the note in a reply.
#[must_use]
pub fn parse_id(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<NoteBody>(body).ok().map(|note| note.id)
}

#[cfg(test)]
mod tests {
    use super::{MAX_NOTE_LEN, Method, NoteSection, Provider, note_path, note_text, parse_id};

    #[test]
    fn note_is_bounded_and_keeps_headlines() {
        let details = "x".repeat(8 << 10);
        let section = |headline: &'static str| NoteSection { headline, details: &details };
        let text = note_text((0..16).map(|_| section("a headline")));
        assert!(text.len() <= MAX_NOTE_LEN, "{}", text.len());
        assert_eq!(text.matches("a headline").count(), 16);
        let long = "h".repeat(1_000);
        let text = note_text((0..100).map(|_| NoteSection { headline: &long, details: "" }));
        assert!(text.len() <= MAX_NOTE_LEN, "{}", text.len());
        let short = note_text([NoteSection { headline: "one", details: "more" }]);
        assert_eq!(short, "### Tidemill\n\none\n\nmore\n");
    }

    #[test]
    fn each_provider_has_its_paths() {
        for (provider, id, method, path) in [
            (Provider::Github, None, Method::Post, "/issues/7/comments"),
            (Provider::Github, Some(1), Method::Patch, "/issues/comments/1"),
            (Provider::Gitea, Some(1), Method::Patch, "/issues/comments/1"),
            (Provider::Gitlab, None, Method::Post, "/merge_requests/7/notes"),
            (Provider::Gitlab, Some(1), Method::Put, "/merge_requests/7/notes/1"),
        ] {
            assert_eq!(note_path(provider, 7, id), Some((method, path.to_owned())));
        }
        assert_eq!(note_path(Provider::Bitbucket, 7, None), None);
        assert_eq!(parse_id(b"{\"id\":3,\"body\":\"x\"}"), Some(3));
        assert_eq!(parse_id(b"{}"), None);
    }
}
