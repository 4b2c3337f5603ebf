//! Decides whether an event triggers a pipeline.

use crate::execution::facts::{Facts, Trigger};
use crate::pipeline::{PullRequestTrigger, PushTrigger, Triggers};
use std::fmt;

/// Why an event does not start a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTriggered {
    /// Its `on` has no trigger for the event.
    NoTrigger(&'static str),
    /// None of its globs matches the branch, tag or target branch.
    NameMismatch {
        /// The kind of name, such as `branch`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// No changed file matches.
    NoMatchingPath,
    /// The event starts pipelines only by name.
    ManualEvent,
}

impl fmt::Display for NotTriggered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrigger(what) => write!(f, "its `on` has no `{what}`"),
            Self::NameMismatch { what, name } => write!(f, "no glob of its `on` matches the {what} {name}"),
            Self::NoMatchingPath => f.write_str("no changed file matches its `paths`"),
            Self::ManualEvent => f.write_str("a manual event starts a pipeline only by its name"),
        }
    }
}

/// Checks whether `on` starts a pipeline for an event with these facts. `*` in a glob matches within a path segment,
/// `**` across segments. Unknown changes match; for tags, changes are ignored.
pub fn check_triggers(on: &Triggers, facts: &Facts) -> Result<(), NotTriggered> {
    match facts.trigger {
        Trigger::Push => push(on.push.as_ref().ok_or(NotTriggered::NoTrigger("push"))?, facts),
        Trigger::PullRequest => {
            pull_request(on.pull_request.as_ref().ok_or(NotTriggered::NoTrigger("pull_request"))?, facts)
        }
        Trigger::Schedule if on.schedule.is_empty() => Err(NotTriggered::NoTrigger("schedule")),
        Trigger::Schedule => Ok(()),
        Trigger::Manual | Trigger::Retry | Trigger::ParentPipeline => Err(NotTriggered::ManualEvent),
    }
}

fn push(on: &PushTrigger, facts: &Facts) -> Result<(), NotTriggered> {
    if let Some(tag) = &facts.tag {
        // A list of only branches excludes tags.
        let narrowed_to_branches = on.tags.is_empty() && (!on.branches.is_empty() || !on.paths.is_empty());
        return if narrowed_to_branches {
            Err(name_mismatch("tag", tag))
        } else {
            matches(&on.tags, "tag", tag)
        };
    }
    let branch = facts.branch.as_deref().unwrap_or_default();
    if on.branches.is_empty() && !on.tags.is_empty() && on.paths.is_empty() {
        return Err(name_mismatch("branch", branch));
    }
    matches(&on.branches, "branch", branch)?;
    paths(&on.paths, facts)
}

fn pull_request(on: &PullRequestTrigger, facts: &Facts) -> Result<(), NotTriggered> {
    let target = facts.pull_request.as_ref().map(|request| request.target_branch.as_str());
    matches(&on.branches, "target branch", target.unwrap_or_default())?;
    paths(&on.paths, facts)
}

fn name_mismatch(what: &'static str, name: &str) -> NotTriggered {
    NotTriggered::NameMismatch { what, name: name.to_owned() }
}

fn matches(globs: &[String], what: &'static str, name: &str) -> Result<(), NotTriggered> {
    if globs.is_empty() || any(globs, [name]) { Ok(()) } else { Err(name_mismatch(what, name)) }
}

fn paths(globs: &[String], facts: &Facts) -> Result<(), NotTriggered> {
    let Some(changed) = facts.changed.as_ref().filter(|_| !globs.is_empty()) else { return Ok(()) };
    if any(globs, changed.iter().map(String::as_str)) { Ok(()) } else { Err(NotTriggered::NoMatchingPath) }
}

fn any<'a>(globs: &[String], names: impl IntoIterator<Item = &'a str>) -> bool {
    let mut set = globset::GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|glob| crate::condition::glob(glob).ok()) {
        set.add(glob);
    }
    set.build().is_ok_and(|set| names.into_iter().any(|name| set.is_match(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{NotTriggered, check_triggers};
    use crate::execution::facts::{Facts, PullRequest, Trigger};
    use crate::pipeline;

    fn on(text: &str, facts: &Facts) -> Result<(), String> {
        let file = format!("name: p\non: {text}\njobs:\n  a: {{ image: i, script: [x] }}\n");
        let parsed = pipeline::parse(&file).unwrap_or_else(|found| panic!("{text}: {found:?}"));
        check_triggers(&parsed.on, facts).map_err(|why| why.to_string())
    }

    fn pushed(branch: &str, changed: Option<&[&str]>) -> Facts {
        let changed = changed.map(|paths| paths.iter().map(ToString::to_string).collect());
        Facts { trigger: Trigger::Push, branch: Some(branch.into()), changed, ..Facts::default() }
    }

    fn tagged(tag: &str) -> Facts {
        Facts { trigger: Trigger::Push, tag: Some(tag.into()), ..Facts::default() }
    }

    fn requested(target: &str, changed: Option<&[&str]>) -> Facts {
        let request = PullRequest { number: 1, target_branch: target.into(), ..PullRequest::default() };
        Facts { trigger: Trigger::PullRequest, pull_request: Some(request), ..pushed("topic", changed) }
            .with_trigger(Trigger::PullRequest)
    }

    impl Facts {
        fn with_trigger(self, trigger: Trigger) -> Self {
            Self { trigger, ..self }
        }
    }

    #[test]
    fn pipeline_starts_on_listed_events() {
        let main = pushed("main", Some(&["src/a.rs"]));
        for (text, facts, fits) in [
            ("{ push: }", &main, true),
            ("{ pull_request: }", &main, false),
            ("{ schedule: \"0 3 * * *\" }", &main, false),
            ("{ push: { branches: [main] } }", &main, true),
            ("{ push: { branches: [dev, \"release/*\"] } }", &main, false),
            ("{ push: { branches: [\"release/*\"] } }", &pushed("release/1", None), true),
            ("{ push: { branches: [\"release/*\"] } }", &pushed("release/1/2", None), false),
            ("{ push: { branches: [\"release/**\"] } }", &pushed("release/1/2", None), true),
            ("{ push: { paths: [\"src/**\"] } }", &main, true),
            ("{ push: { paths: [\"docs/**\"] } }", &main, false),
            ("{ push: { paths: [\"docs/**\"] } }", &pushed("main", None), true),
            ("{ push: { paths: [\"docs/**\"] } }", &pushed("main", Some(&[])), false),
            ("{ push: { branches: [dev], paths: [\"src/**\"] } }", &main, false),
            ("{ push: { tags: [\"v*\"] } }", &main, false),
            ("{ push: { tags: [\"v*\"], paths: [\"src/**\"] } }", &main, true),
            ("{ push: { branches: [main], tags: [\"v*\"] } }", &main, true),
            ("{ push: }", &tagged("v1"), true),
            ("{ push: { tags: [\"v*\"] } }", &tagged("v1"), true),
            ("{ push: { tags: [\"v*\"] } }", &tagged("w1"), false),
            ("{ push: { branches: [main] } }", &tagged("v1"), false),
            ("{ push: { paths: [\"src/**\"] } }", &tagged("v1"), false),
            ("{ push: { branches: [main], tags: [\"v*\"], paths: [x] } }", &tagged("v1"), true),
            ("{ pull_request: }", &requested("main", None), true),
            ("{ push: }", &requested("main", None), false),
            ("{ pull_request: { branches: [main] } }", &requested("main", None), true),
            ("{ pull_request: { branches: [main] } }", &requested("dev", None), false),
            ("{ pull_request: { branches: [topic] } }", &requested("main", None), false),
            ("{ pull_request: { paths: [\"src/**\"] } }", &requested("main", Some(&["src/x"])), true),
            ("{ pull_request: { paths: [\"src/**\"] } }", &requested("main", Some(&["x"])), false),
            ("{ schedule: \"0 3 * * *\" }", &main.clone().with_trigger(Trigger::Schedule), true),
            ("{ push: }", &main.clone().with_trigger(Trigger::Schedule), false),
            ("{ push: }", &main.clone().with_trigger(Trigger::Manual), false),
            ("{ push: }", &main.clone().with_trigger(Trigger::Retry), false),
        ] {
            let result = on(text, facts);
            assert_eq!(result.is_ok(), fits, "{text} on {facts:?}: {result:?}");
        }
    }

    #[test]
    fn not_triggered_reason_is_reported() {
        let main = pushed("main", Some(&["a"]));
        let message = |text| on(text, &main).unwrap_err();
        assert_eq!(message("{ pull_request: }"), "its `on` has no `push`");
        assert_eq!(message("{ push: { branches: [dev] } }"), "no glob of its `on` matches the branch main");
        assert_eq!(message("{ push: { paths: [b] } }"), "no changed file matches its `paths`");
        assert!(NotTriggered::ManualEvent.to_string().contains("only by its name"));
    }
}
