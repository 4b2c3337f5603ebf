//! Checks triggers with patterns, and those of other pipelines.

use super::super::context::{FindingSink, texts};
use crate::condition::compile_pattern;
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{CommentTrigger, TagTrigger, UpstreamTrigger};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Nullable;
use crate::pipeline::raw::triggers::{RawComment, RawTag, RawUpstream};
use regex::Regex;

/// Maximum number of pipelines that one pipeline may follow.
const MAX_UPSTREAMS: usize = 20;

/// Compiles a regular expression of the file, or reports why it is not one.
pub(super) fn pattern(text: &str, path: &Path, findings: &mut FindingSink) -> Option<Regex> {
    match compile_pattern(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let fault = Fault::new("bad-pattern", format!("is not a regular expression: {why}"));
            findings.check(Err(fault), || path.clone());
            None
        }
    }
}

/// Checks `tag` or `release`.
pub(super) fn tag(
    raw: Option<&Nullable<RawTag>>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<TagTrigger> {
    let written = raw?.0.pattern.get().map(|text| text.0.clone());
    if let Some(text) = &written {
        pattern(text, &path.key("pattern"), findings);
    }
    Some(TagTrigger { pattern: written })
}

/// Checks `comment`.
pub(super) fn comment(
    raw: Option<&RawComment>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<CommentTrigger> {
    let raw = raw?;
    if raw.pattern.is_absent() {
        findings.push(
            Finding::key("missing-key", path, "`comment` has no `pattern`")
                .help("add which comments start the pipeline, such as `pattern: ^/deploy$`"),
        );
    }
    let text = &raw.pattern.get()?.0;
    let at = path.key("pattern");
    let compiled = pattern(text, &at, findings)?;
    if compiled.is_match("") {
        let message = "this pattern matches every comment";
        let help = "begin it with a command at the start of the comment, such as `^/deploy`";
        findings.push(Finding::value("bad-pattern", &at, message).help(help));
    }
    let groups: Vec<String> = compiled.capture_names().flatten().map(str::to_owned).collect();
    for name in &groups {
        let fault = names::check_input_name(name).map_err(|fault| Fault {
            message: format!("has a group {}, which {}", quoted(name), fault.message),
            ..fault
        });
        findings.check(fault, || at.clone());
    }
    Some(CommentTrigger { pattern: text.clone(), groups })
}

/// Checks `pipeline` of the pipeline `name`.
pub(super) fn upstream(
    raw: Option<&RawUpstream>,
    branches: Option<Vec<String>>,
    name: &str,
    findings: &mut FindingSink,
) -> Option<UpstreamTrigger> {
    let (raw, path) = (raw?, Path::default().key("on").key("pipeline"));
    if raw.name.is_absent() {
        findings.push(
            Finding::key("missing-key", &path, "`pipeline` has no `name`")
                .help("add the name of the pipeline that this one follows"),
        );
    }
    let names = texts(raw.name.get());
    let at = path.key("name");
    if names.len() > MAX_UPSTREAMS {
        let message = format!("a pipeline follows at most {MAX_UPSTREAMS} others");
        findings.push(Finding::value("out-of-range", &at, message));
    }
    for (index, other) in names.iter().enumerate() {
        let item = || if names.len() == 1 { at.clone() } else { at.index(index) };
        findings.check(names::check_name(other), item);
        if other == name {
            let message = "a pipeline cannot follow itself";
            findings.push(Finding::value("bad-name", &item(), message));
        }
    }
    Some(UpstreamTrigger {
        names,
        status: raw.status.get().map(|status| status.0).unwrap_or_default(),
        branches: branches.unwrap_or_default(),
    })
}
