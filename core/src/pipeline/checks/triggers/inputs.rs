//! Checks the inputs of a pipeline.

use super::super::context::{FindingSink, check_description, texts};
use super::events::pattern;
use crate::pipeline::finding::{Finding, Path, quoted};
use crate::pipeline::model::{Input, InputKind};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Nullable;
use crate::pipeline::raw::triggers::{RawInput, RawManual};
use crate::pipeline::typed_inputs::MAX_OPTIONS;
use std::collections::HashSet;

/// Maximum number of inputs of a pipeline.
const MAX_INPUTS: usize = 50;

/// Checks `inputs` at `path`.
pub(super) fn inputs(
    raw: Option<&Nullable<RawManual>>,
    path: &Path,
    findings: &mut FindingSink,
) -> Vec<Input> {
    let entries = raw.and_then(|manual| manual.0.inputs.get()).map_or(&[][..], |inputs| inputs.0.as_slice());
    if entries.len() > MAX_INPUTS {
        let message = format!("a pipeline has at most {MAX_INPUTS} inputs");
        findings.push(Finding::key("out-of-range", path, message));
    }
    let mut variables = HashSet::new();
    let mut all = Vec::with_capacity(entries.len());
    for (name, raw) in entries {
        let at = path.key(name);
        findings.check_key(names::check_input_name(name), || at.clone());
        let variable = Input::variable(name);
        if !variables.insert(variable.clone()) {
            let message = format!("another input has the variable {}, too", quoted(&variable));
            findings.push(Finding::key("bad-name", &at, message).help("give it another name"));
        }
        all.push(input(name, &raw.0, &at, findings));
    }
    all
}

fn input(name: &str, raw: &RawInput, path: &Path, findings: &mut FindingSink) -> Input {
    let kind = raw.kind.get().map(|kind| kind.0).unwrap_or_default();
    let options = texts(raw.options.get());
    let description = raw.description.get().map(|text| text.0.clone());
    check_description(description.as_deref(), path, findings);
    match (kind == InputKind::Choice, raw.options.is_absent()) {
        (true, true) => findings.push(
            Finding::key("missing-key", path, "a choice needs `options`").help("add `options: [dev, prod]`"),
        ),
        (false, false) => findings.push(
            Finding::key("conflicting-keys", &path.key("options"), "`options` are those of a choice")
                .help("add `type: choice`"),
        ),
        _ if options.len() > MAX_OPTIONS => {
            let message = format!("a choice has at most {MAX_OPTIONS} options");
            findings.push(Finding::value("out-of-range", &path.key("options"), message));
        }
        _ => {}
    }
    let written = raw.pattern.get().map(|text| text.0.clone());
    let mut is_pattern = true;
    if let Some(text) = &written {
        is_pattern = pattern(text, &path.key("pattern"), findings).is_some();
        if !kind.value_type().takes_pattern() {
            let message = format!("a {} has no `pattern`", kind.as_str());
            let finding = Finding::key("conflicting-keys", &path.key("pattern"), message);
            findings.push(finding.help("remove it, or make the input a `string`"));
        }
    }
    let default = raw.default.get().map(|text| text.0.clone());
    let input = Input { name: name.to_owned(), kind, description, default, options, pattern: written };
    let has_options = kind != InputKind::Choice || !input.options.is_empty();
    if let (Some(default), true, true) = (&input.default, is_pattern, has_options)
        && let Err(expected) = input.check(default)
    {
        let message = format!("the default of the input {} must be {expected}", quoted(name));
        findings.push(Finding::value("unknown-value", &path.key("default"), message));
    }
    input
}
