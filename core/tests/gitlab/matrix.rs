//! A matrix of keyword, value and event: what GitLab's documentation says happens, and what happens here.
//!
//! Each row is a fragment of a file and its outcome, as <https://docs.gitlab.com/ci/yaml/> describes it.

pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod participation;
pub(crate) mod refused;

use tidemill_core::execution::facts::Facts;
use tidemill_core::plan::{Plan, PlanError};

use super::{diagnostics, pipeline, translate_fixture};
use events::{EVENTS, facts};

/// The file with the job of a row of [`participation::JOBS`] or [`keys::KEYS`].
pub(crate) fn file_with_job(keys: &str) -> String {
    let script = if keys.starts_with("script:") { "" } else { "  script: [echo]\n" };
    let keys = keys.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>().concat();
    format!(
        "# merge_requests\ndefault: {{image: 'img:1'}}\nstages: [build, test, deploy]\n\
         variables: {{EMPTY: '', FIXED: x, PATTERN: /^ma/, COMMON: all}}\n\
         first: {{stage: build, script: [echo], artifacts: {{paths: [out]}}, rules: [{{when: on_success}}]}}\n\
         second: {{stage: build, parallel: {{matrix: [{{OS: [deb, rpm]}}]}}, script: [echo], rules: [{{when: on_success}}]}}\n\
         job:\n{script}{keys}"
    )
}

/// How the job `name` takes part in a plan: nothing if it does not, otherwise the event with `=when`, `?` if it may fail, and `+`
/// with the seconds of its delay.
fn participation(plan: &Result<Plan, PlanError>, event: char, name: &str) -> Option<String> {
    let plan = plan.as_ref().ok()?;
    let job = plan.jobs.iter().find(|job| job.name == name)?;
    let when = serde_json::to_value(job.when).unwrap();
    let when = when.as_str().filter(|when| *when != "on_success").map(|when| format!("={when}"));
    let delay = job.start_in_s.map(|seconds| format!("+{seconds}")).unwrap_or_default();
    let may_fail = if job.allow_failure { "?" } else { "" };
    Some(format!("{event}{}{may_fail}{delay}", when.unwrap_or_default()))
}

fn check_participation(text: &str, name: &str, expected: &str, wrong: &mut Vec<String>) {
    let pipeline = match translate_fixture(".gitlab-ci.yml", text) {
        Ok(translated) => translated.parsed.pipeline,
        Err(errors) => {
            wrong.push(format!("{text}\n{}", errors.render(false)));
            return;
        }
    };
    let of = |(event, facts): (char, Facts)| {
        let starts = event != 'R' || pipeline.on.pull_request.is_some();
        participation(&Plan::for_facts(&pipeline, &facts), event, name).filter(|_| starts)
    };
    let found: Vec<String> = EVENTS.iter().filter_map(|event| of((*event, facts(*event)))).collect();
    if found.join(" ") != expected {
        wrong.push(format!("{text}\n  expected {expected}\n  found    {}", found.join(" ")));
    }
}

#[test]
fn jobs_take_part_in_executions_as_in_gitlab() {
    let mut wrong = Vec::new();
    for (keys, expected) in participation::JOBS {
        check_participation(&file_with_job(keys), "job", expected, &mut wrong);
    }
    for (text, expected) in participation::FILES {
        check_participation(text, "job", expected, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn keys_have_the_values_that_they_have_in_gitlab() {
    let mut wrong = Vec::new();
    let texts = keys::KEYS.iter().map(|(text, what, expected)| (file_with_job(text), what, expected));
    let files = keys::FILES.iter().map(|(text, what, expected)| ((*text).to_owned(), what, expected));
    for (text, what, expected) in texts.chain(files) {
        let found = match translate_fixture(".gitlab-ci.yml", &text) {
            Err(errors) => errors.render(false),
            Ok(translated) => match Plan::for_facts(&translated.parsed.pipeline, &facts('M')) {
                Err(error) => error.to_string(),
                Ok(plan) => keys::value(&plan, what),
            },
        };
        if found != **expected {
            wrong.push(format!("{text}\n  {what}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_gitlab_refuses_is_one_error() {
    let mut wrong = Vec::new();
    let texts = refused::KEYS.iter().map(|(keys, part)| (file_with_job(keys), part));
    let files = refused::FILES.iter().map(|(text, part)| ((*text).to_owned(), part));
    for (text, part) in texts.chain(files) {
        let found = diagnostics(&text);
        let errors: Vec<&String> = found.iter().filter(|one| one.contains("error[")).collect();
        if errors.len() != 1 || !errors[0].contains(*part) {
            wrong.push(format!("{text}\n  expected one error with {part:?}, found {errors:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn matrix_has_several_hundred_rows() {
    let events = EVENTS.len();
    let rows = (participation::JOBS.len() + participation::FILES.len()) * events
        + keys::KEYS.len()
        + keys::FILES.len()
        + refused::KEYS.len()
        + refused::FILES.len();
    assert!(rows > 900, "{rows}");
    // All rows that are taken are also imported: see `import`.
    assert!(pipeline(&file_with_job("")).jobs.len() == 3);
}
