//! Checks top-level keys: triggers, concurrency, time limit. Also `concurrency` of a job.

mod events;
mod inputs;

use indexmap::IndexMap;

use super::context::{FindingSink, MAX_TIMEOUT_S, check_description, texts};
use super::cron;
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{
    Concurrency, JobConcurrency, MAX_JOB_GROUP_BYTES, MergeGroupTrigger, PullRequestTrigger, PushTrigger,
    Schedule, Triggers,
};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::collections::OneOrMany;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::records::RawPipeline;
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::raw::triggers::{RawJobConcurrency, RawSchedule, RawTriggers};
use crate::pipeline::references;
use crate::text::suggest;

/// Maximum length of the name of a concurrency group in bytes, before references are expanded.
const MAX_GROUP_BYTES: usize = 200;

/// Predefined references of concurrency groups, which need no variable.
const GROUP_REFERENCES: [&str; 2] = ["branch", "pipeline"];

/// The concurrency group of an `interruptible` pipeline.
const BRANCH_GROUP: &str = "${pipeline}/${branch}";

/// Checks `concurrency`, and `interruptible`, its short form.
pub(crate) fn concurrency(
    pipeline: &RawPipeline,
    variables: &IndexMap<String, String>,
    findings: &mut FindingSink,
) -> Option<Concurrency> {
    let path = Path::default().key("concurrency");
    let interruptible = pipeline.interruptible.get().is_some_and(|flag| flag.0);
    if interruptible && !pipeline.concurrency.is_absent() {
        findings.push(
            Finding::key(
                "conflicting-keys",
                &Path::default().key("interruptible"),
                "`interruptible: true` is short for a `concurrency`, and this file has one too",
            )
            .help("remove `interruptible`, and write `cancel_superseded: true` under `concurrency`")
            .related("the other one", FindingLocation::Path(path.clone(), PathPart::Key)),
        );
    }
    let Some(raw) = pipeline.concurrency.get() else {
        return interruptible
            .then(|| Concurrency { group: BRANCH_GROUP.to_owned(), cancel_superseded: true });
    };
    if raw.group.is_absent() {
        findings.push(
            Finding::key("missing-key", &path, "`concurrency` has no `group`")
                .help("add `group: ${pipeline}-${branch}`, or another name"),
        );
    }
    let group = &raw.group.get()?.0;
    let at = || path.key("group");
    if group.trim().is_empty() || group.len() > MAX_GROUP_BYTES {
        let fault = Fault::new("bad-name", format!("must have 1 to {MAX_GROUP_BYTES} bytes"));
        findings.check(Err(fault.help("add `group: ${pipeline}-${branch}`, or another name")), at);
    }
    findings.check(references::parse_references(group).map(drop), at);
    let known = || variables.keys().map(String::as_str).chain(GROUP_REFERENCES);
    for reference in references::parse_references(group).unwrap_or_default() {
        if !known().any(|name| name == reference) {
            let help = findings.suggestions.did_you_mean(reference, known());
            let message = format!(
                "the group refers to {}, which is neither `branch` nor `pipeline` nor a variable of the pipeline",
                quoted(reference)
            );
            findings.push(Finding::value("unknown-reference", &at(), message).maybe_help(help));
        }
    }
    let cancel_superseded = raw.cancel_superseded.get().is_some_and(|flag| flag.0);
    Some(Concurrency { group: group.clone(), cancel_superseded })
}

/// Checks `concurrency` of a job.
pub(crate) fn job_concurrency(
    raw: &Either<Text, RawJobConcurrency>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<JobConcurrency> {
    let (group, limit, at) = match raw {
        Either::Short(group) => (&group.0, None, path.clone()),
        Either::Long(raw) => {
            if raw.group.is_absent() {
                findings.push(
                    Finding::key("missing-key", path, "`concurrency` has no `group`")
                        .help("write `{ group: production, limit: 2 }`, or only the name"),
                );
            }
            (&raw.group.get()?.0, raw.limit.get(), path.key("group"))
        }
    };
    let bad = |message: String| {
        Fault::new("bad-name", message).help("write a name such as `production` or `deploy-${branch}`")
    };
    let result = if group.trim().is_empty() || group.len() > MAX_JOB_GROUP_BYTES {
        Err(bad(format!("must have 1 to {MAX_JOB_GROUP_BYTES} bytes")))
    } else if group.contains(char::is_control) {
        Err(bad("holds a line break or another control character".to_owned()))
    } else {
        references::parse_references(group).map(drop)
    };
    findings.check(result, || at);
    Some(JobConcurrency { group: group.clone(), limit: limit.map_or(1, |limit| limit.0) })
}

/// Checks `on`.
pub(crate) fn triggers(raw: &RawTriggers, name: &str, findings: &mut FindingSink) -> Triggers {
    let path = Path::default().key("on");
    let mut globs = |at: &Path, field: &Field<OneOrMany<Text>>, inside: bool| -> Vec<String> {
        let items = field.get().map_or(&[][..], |items| items.0.as_slice());
        for (index, item) in items.iter().enumerate() {
            let result = if inside { names::check_inside(&item.0) } else { names::check_glob(&item.0) };
            findings.check(result, || at.index(index));
        }
        items.iter().map(|item| item.0.clone()).collect()
    };
    let push = raw.push.get().map(|push| {
        let at = path.key("push");
        PushTrigger {
            branches: globs(&at.key("branches"), &push.0.branches, false),
            tags: globs(&at.key("tags"), &push.0.tags, false),
            paths: globs(&at.key("paths"), &push.0.paths, true),
        }
    });
    let pull_request = raw.pull_request.get().map(|pull_request| {
        let at = path.key("pull_request");
        PullRequestTrigger {
            branches: globs(&at.key("branches"), &pull_request.0.branches, false),
            paths: globs(&at.key("paths"), &pull_request.0.paths, true),
            types: pull_request
                .0
                .types
                .get()
                .map_or_else(Vec::new, |types| types.0.iter().map(|of| of.0).collect()),
            labels: texts(pull_request.0.labels.get()),
        }
    });
    let merge_group = raw.merge_group.get().map(|group| MergeGroupTrigger {
        branches: globs(&path.key("merge_group").key("branches"), &group.0.branches, false),
    });
    let branches = raw
        .pipeline
        .get()
        .map(|pipeline| globs(&path.key("pipeline").key("branches"), &pipeline.branches, false));
    let schedule = raw.schedule.get().map_or(&[][..], |items| items.0.as_slice());
    let at = path.key("schedule");
    let schedule = schedule
        .iter()
        .filter_map(|(index, item)| schedule_item(item, &at.index(*index), findings))
        .collect();
    let inputs = inputs::inputs(raw.manual.get(), &path.key("manual").key("inputs"), findings);
    Triggers {
        push,
        pull_request,
        schedule,
        tag: events::tag(raw.tag.get(), &path.key("tag"), findings),
        release: events::tag(raw.release.get(), &path.key("release"), findings),
        merge_group,
        comment: events::comment(raw.comment.get(), &path.key("comment"), findings),
        pipeline: events::upstream(raw.pipeline.get(), branches, name, findings),
        inputs,
    }
}

fn schedule_item(
    item: &Either<Text, RawSchedule>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<Schedule> {
    let utc = || "UTC".to_owned();
    let raw = match item {
        Either::Short(cron) => {
            findings.check(cron::check(&cron.0), || path.clone());
            return Some(Schedule { cron: cron.0.trim().to_owned(), time_zone: utc(), description: None });
        }
        Either::Long(raw) => raw,
    };
    if raw.cron.is_absent() {
        findings.push(
            Finding::value("missing-key", path, "this schedule has no `cron`")
                .help("write `{ cron: \"0 3 * * 1-5\", time_zone: Europe/Vienna }`"),
        );
    }
    if let Some(zone) = raw.time_zone.get() {
        findings.check(time_zone(&zone.0), || path.key("time_zone"));
    }
    let cron = &raw.cron.get()?.0;
    findings.check(cron::check(cron), || path.key("cron"));
    let time_zone = raw.time_zone.get().map_or_else(utc, |zone| zone.0.clone());
    let description = raw.description.get().map(|text| text.0.clone());
    check_description(description.as_deref(), path, findings);
    Some(Schedule { cron: cron.trim().to_owned(), time_zone, description })
}

/// Checks the IANA name of a time zone against the built-in database.
fn time_zone(name: &str) -> Result<(), Fault> {
    let zones = jiff::tz::TimeZoneDatabase::bundled();
    // The database ignores case; other readers of the name may not.
    if zones.get(name).is_ok_and(|zone| zone.iana_name() == Some(name)) {
        return Ok(());
    }
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    let near = names
        .iter()
        .find(|known| known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name)))
        .map(String::as_str)
        .or_else(|| suggest::nearest(name, names.iter().map(String::as_str)));
    let fault = Fault::new("unknown-time-zone", format!("is not a time zone: {}", quoted(name)));
    Err(match near {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help("write an IANA name, such as `Europe/Vienna` or `UTC`"),
    })
}

/// Checks the time limit of executions.
pub(crate) fn timeout(raw: &RawPipeline, findings: &mut FindingSink) -> Option<u64> {
    let timeout = raw.timeout.get()?.0;
    if !(1..=MAX_TIMEOUT_S).contains(&timeout) {
        let fault = Fault::new("out-of-range", "must be from one second to 30 days");
        findings.check(Err(fault), || Path::default().key("timeout"));
    }
    Some(timeout)
}
