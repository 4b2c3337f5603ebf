//! The events of the matrix.

use tidemill_core::api::Trigger;
use tidemill_core::execution::facts::{CommitDetails, Facts, PullRequest};

/// A push to the default branch `main`, one to the branch `topic`, one of the tag `v1.2.3`, a merge request of `topic`, and a
/// schedule and a user's start on `main`.
pub(crate) const EVENTS: [char; 6] = ['M', 'B', 'T', 'R', 'S', 'W'];

/// The facts of an event. As in GitLab, only pushes to branches and merge requests have changed files.
pub(crate) fn facts(event: char) -> Facts {
    let texts = |all: &[&str]| Some(all.iter().map(|text| (*text).to_owned()).collect());
    let branch = match event {
        'T' => None,
        'B' | 'R' => Some("topic".to_owned()),
        _ => Some("main".to_owned()),
    };
    let trigger = match event {
        'R' => Trigger::PullRequest,
        'S' => Trigger::Schedule,
        'W' => Trigger::Manual,
        _ => Trigger::Push,
    };
    let request = PullRequest {
        number: 3,
        target_branch: "main".to_owned(),
        title: "Draft: a change".to_owned(),
        draft: true,
        labels: vec!["bug".to_owned(), "ui".to_owned()],
        ..PullRequest::default()
    };
    Facts {
        trigger,
        branch,
        repo: "https://git.example.com/group/project".to_owned(),
        tag: (event == 'T').then(|| "v1.2.3".to_owned()),
        schedule: (event == 'S').then(|| "nightly".to_owned()),
        commit: Some("0123456789abcdef0123".to_owned()),
        details: CommitDetails {
            message: Some("release 1\n\nall of it".to_owned()),
            author: Some("Ann <ann@example.com>".to_owned()),
            dirty: false,
        },
        default_branch: Some("main".to_owned()),
        pull_request: (event == 'R').then_some(request),
        changed: if "MBR".contains(event) { texts(&["src/main.rs", "docs/index.md"]) } else { None },
        compared: [
            ("main", texts(&["src/main.rs", "extra/a.md"])),
            ("refs/heads/main", texts(&["src/main.rs", "extra/a.md"])),
            ("v1", texts(&[])),
            ("gone", None),
        ]
        .map(|(reference, paths)| (reference.to_owned(), paths))
        .into(),
        files: texts(&["src/main.rs", "docs/index.md", "Dockerfile"]),
        ..Facts::default()
    }
}
