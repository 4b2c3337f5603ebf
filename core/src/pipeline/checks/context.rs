//! Shared by all checks: the sink for findings, and checks of variables and globs.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::condition;
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::names;
use crate::pipeline::raw::collections::{NamedValues, OneOrMany};
use crate::pipeline::raw::records::{RawDefaults, RawJob};
use crate::pipeline::raw::scalars::Text;
use crate::text::{check_line, suggest::Suggestions};

pub(crate) const MAX_TIMEOUT_S: u64 = 30 * 86_400;

/// Collects findings.
#[derive(Default)]
pub(crate) struct FindingSink {
    pub(crate) findings: Vec<Finding>,
    pub(crate) suggestions: Suggestions,
    /// Outputs in checked conditions, or their faults, as jobs with shared rules have the same conditions.
    conditions: HashMap<String, Result<Vec<condition::OutputReference>, condition::ConditionError>>,
}

impl FindingSink {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Checks a condition, and returns its fault.
    pub(crate) fn check_condition(&mut self, text: &str) -> Option<condition::ConditionError> {
        if let Some(known) = self.conditions.get(text) {
            return known.clone().err();
        }
        let checked = condition::check(text).map(|condition| condition.outputs().to_vec());
        let fault = checked.clone().err();
        self.conditions.insert(text.to_owned(), checked);
        fault
    }

    /// Returns the outputs that a checked condition refers to.
    pub(crate) fn outputs_in(&self, text: &str) -> Vec<condition::OutputReference> {
        self.conditions.get(text).and_then(|checked| checked.clone().ok()).unwrap_or_default()
    }

    /// Adds the fault of the value at `path`, if any.
    pub(crate) fn check(&mut self, result: Result<(), Fault>, path: impl FnOnce() -> Path) {
        if let Err(fault) = result {
            self.findings.push(fault.into_finding(&path()));
        }
    }

    /// Adds the fault of the key at `path`, if any.
    pub(crate) fn check_key(&mut self, result: Result<(), Fault>, path: impl FnOnce() -> Path) {
        if let Err(fault) = result {
            let path = path();
            let message = format!("{} {}", path.label(), fault.message);
            self.findings.push(Finding::key(fault.code, &path, message).maybe_help(fault.help));
        }
    }
}

/// The parts of a pipeline that its jobs depend on.
pub(crate) struct PipelineContext<'a> {
    pub(crate) variables: &'a IndexMap<String, String>,
    pub(crate) defaults: &'a RawDefaults,
    /// Number of jobs that hand variables to others: some texts may refer to those, whose names are not known.
    pub(crate) output_jobs: usize,
}

impl PipelineContext<'_> {
    /// Whether a job other than `job` hands variables to others.
    pub(crate) fn has_other_outputs(&self, job: &RawJob) -> bool {
        self.output_jobs > usize::from(provides_outputs(job))
    }
}

/// Whether a job hands variables to others: those that it names, or those about the image that it builds.
pub(crate) fn provides_outputs(job: &RawJob) -> bool {
    job.outputs.get().is_some() || job.build.get().is_some()
}

/// A job's path and name, known even if the job is invalid.
pub(crate) struct KnownJob<'a> {
    pub(crate) path: Path,
    pub(crate) name: Option<&'a str>,
    pub(crate) raw: Option<&'a RawJob>,
}

pub(crate) fn job_label(job: &KnownJob<'_>) -> String {
    job.name.map_or_else(|| "this job".to_owned(), |name| format!("the job {}", quoted(name)))
}

/// Checks variables and returns them in file order. `path` is computed only for a finding.
pub(crate) fn variables(
    entries: Option<&NamedValues<Text>>,
    path: impl Fn() -> Path,
    findings: &mut FindingSink,
) -> IndexMap<String, String> {
    const MAX_VALUE_BYTES: usize = 32 << 10;
    let entries = entries.map_or(&[][..], |entries| entries.0.as_slice());
    let mut variables = IndexMap::with_capacity(entries.len());
    for (name, value) in entries {
        findings.check_key(names::check_variable_name(name), || path().key(name));
        if value.0.len() > MAX_VALUE_BYTES {
            let message = format!("the value of `{name}` is longer than 32 KiB");
            findings.push(
                Finding::value("out-of-range", &path().key(name), message)
                    .help("put it into a file of the repository"),
            );
        }
        if value.0.contains("${{") {
            let message =
                format!("the value of `{name}` is taken as it is: `${{{{ }}}}` stands for nothing here");
            findings.push(Finding::value("not-expanded", &path().key(name), message).warning().help(
                "a script has variables and keys of the matrix as `$NAME`; name secrets under `secrets`",
            ));
        }
        variables.insert(name.clone(), value.0.clone());
    }
    variables
}

/// Checks the `description` of what is at a path.
pub(crate) fn check_description(text: Option<&str>, of: &Path, findings: &mut FindingSink) {
    const MAX_LEN: usize = 255;
    if text.is_some_and(|text| check_line("description", text, MAX_LEN).is_err()) {
        let message = format!("a description is one line of at most {MAX_LEN} bytes");
        findings.push(Finding::value("out-of-range", &of.key("description"), message));
    }
}

/// Checks globs of files that must lie within the sources.
pub(crate) fn check_paths_inside(globs: Option<&OneOrMany<Text>>, path: &Path, findings: &mut FindingSink) {
    for (index, glob) in globs.map_or(&[][..], |globs| globs.0.as_slice()).iter().enumerate() {
        findings.check(names::check_inside(&glob.0), || path.index(index));
    }
}

pub(crate) fn texts(list: Option<&OneOrMany<Text>>) -> Vec<String> {
    list.map(|list| list.0.iter().map(|text| text.0.clone()).collect()).unwrap_or_default()
}
