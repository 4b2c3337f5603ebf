//! Decides whether an event triggers a pipeline.

use crate::condition::compile_pattern;
use crate::execution::facts::{Facts, PullRequest, Trigger};
use crate::execution::status::ExecutionStatus;
use crate::pipeline::{InputError, PullRequestTrigger, PushTrigger, TagTrigger, Triggers, UpstreamTrigger};
use crate::repository::webhook::PullRequestAction;
use indexmap::IndexMap;
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
    /// Its `pattern` does not match.
    PatternMismatch {
        /// What it is matched against, such as `tag`.
        what: &'static str,
    },
    /// Its `types` do not have what happened to the pull request.
    OtherAction(PullRequestAction),
    /// The pull request lacks one of its `labels`.
    MissingLabel(String),
    /// It follows other pipelines.
    OtherPipeline(String),
    /// It follows executions that end in another way.
    OtherStatus(ExecutionStatus),
    /// The comment has an invalid value for an input.
    Input(InputError),
}

impl fmt::Display for NotTriggered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrigger(what) => write!(f, "its `on` has no `{what}`"),
            Self::NameMismatch { what, name } => write!(f, "no glob of its `on` matches the {what} {name}"),
            Self::NoMatchingPath => f.write_str("no changed file matches its `paths`"),
            Self::ManualEvent => f.write_str("a manual event starts a pipeline only by its name"),
            Self::PatternMismatch { what } => {
                write!(f, "the `pattern` of its `on` does not match the {what}")
            }
            Self::OtherAction(action) => write!(f, "its `types` do not have `{}`", action.as_str()),
            Self::MissingLabel(label) => write!(f, "the pull request has no label `{label}`"),
            Self::OtherPipeline(name) => write!(f, "it does not follow the pipeline {name}"),
            Self::OtherStatus(status) => {
                write!(f, "it does not follow executions with the status {}", status.as_str())
            }
            Self::Input(error) => error.fmt(f),
        }
    }
}

/// Checks whether `on` starts a pipeline for an event with these facts. `*` in a glob matches within a path segment,
/// `**` across segments. Unknown changes match; for tags, changes are ignored.
pub fn check_triggers(on: &Triggers, facts: &Facts) -> Result<(), NotTriggered> {
    match facts.trigger {
        Trigger::Push => match (&on.tag, &facts.tag) {
            (Some(trigger), Some(name)) => {
                tag(trigger, name).or_else(|other| on.push.as_ref().map_or(Err(other), |on| push(on, facts)))
            }
            (None, Some(_)) if on.push.is_none() => Err(NotTriggered::NoTrigger("tag")),
            _ => push(on.push.as_ref().ok_or(NotTriggered::NoTrigger("push"))?, facts),
        },
        Trigger::PullRequest => {
            pull_request(on.pull_request.as_ref().ok_or(NotTriggered::NoTrigger("pull_request"))?, facts)
        }
        Trigger::Schedule if on.schedule.is_empty() => Err(NotTriggered::NoTrigger("schedule")),
        Trigger::Schedule => Ok(()),
        Trigger::Manual | Trigger::Retry | Trigger::ParentPipeline => Err(NotTriggered::ManualEvent),
        Trigger::MergeGroup => {
            let on = on.merge_group.as_ref().ok_or(NotTriggered::NoTrigger("merge_group"))?;
            matches(&on.branches, "target branch", facts.merge_target.as_deref().unwrap_or_default())
        }
        Trigger::Release => {
            let on = on.release.as_ref().ok_or(NotTriggered::NoTrigger("release"))?;
            tag(on, facts.tag.as_deref().unwrap_or_default())
        }
        Trigger::Comment => comment_inputs(on, facts).map(drop),
        Trigger::Pipeline => {
            upstream(on.pipeline.as_ref().ok_or(NotTriggered::NoTrigger("pipeline"))?, facts)
        }
    }
}

/// Returns the values of the inputs of a pipeline that starts for an event with these facts: those of a comment, and defaults.
///
/// # Errors
/// Returns why the event does not start it.
pub fn event_inputs(on: &Triggers, facts: &Facts) -> Result<IndexMap<String, String>, NotTriggered> {
    let given = match facts.trigger {
        Trigger::Comment => comment_inputs(on, facts)?,
        _ => IndexMap::new(),
    };
    on.input_values(&given, false).map_err(NotTriggered::Input)
}

fn comment_inputs(on: &Triggers, facts: &Facts) -> Result<IndexMap<String, String>, NotTriggered> {
    let on = on.comment.as_ref().ok_or(NotTriggered::NoTrigger("comment"))?;
    let text = facts.comment.as_ref().map_or("", |comment| comment.text.as_str());
    on.captures(text).ok_or(NotTriggered::PatternMismatch { what: "comment" })
}

fn tag(on: &TagTrigger, name: &str) -> Result<(), NotTriggered> {
    let is_match = |pattern: &String| compile_pattern(pattern).is_ok_and(|pattern| pattern.is_match(name));
    if on.pattern.as_ref().is_none_or(is_match) {
        Ok(())
    } else {
        Err(NotTriggered::PatternMismatch { what: "tag" })
    }
}

fn upstream(on: &UpstreamTrigger, facts: &Facts) -> Result<(), NotTriggered> {
    let Some(ended) = &facts.upstream else { return Err(NotTriggered::NoTrigger("pipeline")) };
    if !on.names.contains(&ended.pipeline) {
        return Err(NotTriggered::OtherPipeline(ended.pipeline.clone()));
    }
    if !on.status.includes(ended.status) {
        return Err(NotTriggered::OtherStatus(ended.status));
    }
    match &facts.branch {
        Some(branch) => matches(&on.branches, "branch", branch),
        None if on.branches.is_empty() => Ok(()),
        None => Err(name_mismatch("tag", facts.tag.as_deref().unwrap_or_default())),
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
    if let Some(request) = &facts.pull_request {
        action_and_labels(on, request)?;
    }
    let target = facts.pull_request.as_ref().map(|request| request.target_branch.as_str());
    matches(&on.branches, "target branch", target.unwrap_or_default())?;
    paths(&on.paths, facts)
}

/// Whether a pull request has the labels that start a pipeline, and what happened to it does so too.
#[must_use]
pub fn has_action_and_labels(on: &PullRequestTrigger, request: &PullRequest) -> bool {
    action_and_labels(on, request).is_ok()
}

fn action_and_labels(on: &PullRequestTrigger, request: &PullRequest) -> Result<(), NotTriggered> {
    let types = if on.types.is_empty() { &PullRequestAction::DEFAULT[..] } else { &on.types };
    if let Some(action) = request.action.filter(|action| !action.is_among(types)) {
        return Err(NotTriggered::OtherAction(action));
    }
    // Commas separate the recorded labels in a list, so they are not part of one.
    let has = |label: &str| request.labels.iter().any(|own| *own == label.replace(',', " "));
    match on.labels.iter().find(|label| !has(label)) {
        Some(label) => Err(NotTriggered::MissingLabel(label.clone())),
        None => Ok(()),
    }
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
    use super::{NotTriggered, check_triggers, event_inputs};
    use crate::execution::facts::{Comment, Facts, PullRequest, Trigger, Upstream};
    use crate::execution::status::ExecutionStatus;
    use crate::ids::ExecutionId;
    use crate::pipeline;
    use crate::repository::webhook::PullRequestAction;

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
    fn tags_releases_and_merge_groups_start_by_name() {
        let released = |tag: &str| tagged(tag).with_trigger(Trigger::Release);
        let grouped = |target: &str| {
            Facts { merge_target: Some(target.into()), ..pushed("gh-readonly-queue/main/pr-7", None) }
                .with_trigger(Trigger::MergeGroup)
        };
        for (text, facts, fits) in [
            ("{ tag: }", tagged("v1"), true),
            ("{ tag: }", pushed("main", None), false),
            ("{ tag: { pattern: \"^v[0-9]+$\" } }", tagged("v1"), true),
            ("{ tag: { pattern: \"^v[0-9]+$\" } }", tagged("v1-rc"), false),
            ("{ tag: { pattern: \"^v\" }, push: { branches: [main] } }", tagged("w1"), false),
            ("{ tag: { pattern: \"^v\" }, push: { tags: [\"w*\"] } }", tagged("w1"), true),
            ("{ tag: { pattern: \"^v\" }, push: { branches: [main] } }", pushed("main", None), true),
            ("{ push: }", released("v1"), false),
            ("{ release: }", released("v1"), true),
            ("{ release: }", tagged("v1"), false),
            ("{ release: { pattern: \"^w\" } }", released("v1"), false),
            ("{ merge_group: }", grouped("main"), true),
            ("{ merge_group: { branches: [main] } }", grouped("main"), true),
            ("{ merge_group: { branches: [main] } }", grouped("dev"), false),
            ("{ push: }", grouped("main"), false),
        ] {
            let result = on(text, &facts);
            assert_eq!(result.is_ok(), fits, "{text} on {facts:?}: {result:?}");
        }
    }

    #[test]
    fn pull_requests_start_by_type_and_labels() {
        use PullRequestAction::{Closed, Labeled, Merged, Opened, ReadyForReview, Synchronized, Unlabeled};
        let changed = |action, labels: &[&str]| {
            let mut facts = requested("main", None);
            let request = facts.pull_request.as_mut().unwrap();
            request.action = Some(action);
            request.labels = labels.iter().map(ToString::to_string).collect();
            facts
        };
        for (text, action, labels, fits) in [
            ("", Opened, &[][..], true),
            ("", Synchronized, &[], true),
            ("", ReadyForReview, &[], true),
            ("", Labeled, &[], false),
            ("", Merged, &[], false),
            ("types: [labeled, closed]", Labeled, &[], true),
            ("types: [labeled, closed]", Closed, &[], true),
            ("types: [labeled, closed]", Merged, &[], true),
            ("types: merged", Closed, &[], false),
            ("types: [labeled, closed]", Opened, &[], false),
            ("types: [unlabeled], labels: [a]", Unlabeled, &["b"], false),
            ("labels: [a, \"b,c\"]", Opened, &["b c", "x", "a"], true),
            ("labels: [a, b]", Opened, &["a"], false),
        ] {
            let result = on(&format!("{{ pull_request: {{ {text} }} }}"), &changed(action, labels));
            assert_eq!(result.is_ok(), fits, "{text} on {action:?} {labels:?}: {result:?}");
        }
    }

    #[test]
    fn pipeline_follows_others_by_name_status_and_branch() {
        use ExecutionStatus::{Canceled, Failed, Success};
        let after = |pipeline: &str, status, branch: &str| Facts {
            upstream: Some(Box::new(Upstream {
                execution: ExecutionId(uuid::Uuid::nil()),
                pipeline: pipeline.into(),
                status,
                depth: 0,
                breadth: 1,
            })),
            ..pushed(branch, None).with_trigger(Trigger::Pipeline)
        };
        for (text, facts, reason) in [
            ("name: build", after("build", Success, "main"), None),
            ("name: [lint, build]", after("build", Success, "main"), None),
            ("name: lint", after("build", Success, "main"), Some("it does not follow the pipeline build")),
            ("name: build", after("build", Failed, "main"), Some("executions with the status FAILED")),
            ("name: build, status: failed", after("build", Failed, "main"), None),
            ("name: build, status: failed", after("build", Canceled, "main"), Some("status CANCELED")),
            ("name: build, status: any", after("build", Canceled, "main"), None),
            ("name: build, branches: [main]", after("build", Success, "dev"), Some("the branch dev")),
        ] {
            let result = on(&format!("{{ pipeline: {{ {text} }} }}"), &facts);
            match reason {
                None => assert_eq!(result, Ok(()), "{text}"),
                Some(reason) => assert!(result.as_ref().unwrap_err().contains(reason), "{text}: {result:?}"),
            }
        }
    }

    #[test]
    fn comment_gives_inputs() {
        let file = "name: p\non: { comment: { pattern: \"^/run (?P<n>\\\\w+)$\" }, manual: { inputs: { n: { type: number } } } }\n\
                    jobs: { a: { image: i, script: [x] } }\n";
        let on = pipeline::parse(file).unwrap().on;
        let inputs = |text: &str| {
            let comment = Some(Box::new(Comment { text: text.into(), author: "jo".into() }));
            event_inputs(&on, &Facts { comment, ..requested("main", None).with_trigger(Trigger::Comment) })
        };
        assert_eq!(inputs("/run 7").unwrap()["n"], "7");
        assert_eq!(inputs("run 7"), Err(NotTriggered::PatternMismatch { what: "comment" }));
        let invalid = inputs("/run x").unwrap_err().to_string();
        assert_eq!(invalid, "the input `n` takes a number, not `x`");
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
