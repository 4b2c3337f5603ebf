//! Translates `needs` and `dependencies`.

mod of_variants;

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::context::{FileContext, Job};
use super::matrix::expression::{self, Cell};
use super::matrix::{self, Values};
use super::services::sequence;
use crate::gitlab::conditions::rules::Rule;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::Node;

/// Maximum number of needs of a job: GitLab's limit.
const MAX_NEEDS: usize = 50;

/// Maximum length of the name of a job, or of a variant, that is looked up, in bytes.
const MAX_NAME_BYTES: usize = 2048;

/// A job that is needed, or some of its variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    job: String,
    /// The values of the variants; empty for all.
    cells: Vec<Values>,
    optional: bool,
    artifacts: bool,
}

impl Need {
    /// Returns the native item of `needs`, or of `dependencies`.
    fn into_value(self, is_need: bool) -> Value {
        let optional = self.optional && is_need;
        if self.cells.is_empty() && !optional {
            return self.job.into();
        }
        let mut all = Mapping::new();
        all.insert("job".into(), self.job.into());
        if optional {
            all.insert("optional".into(), true.into());
        }
        if !self.cells.is_empty() {
            let cell = |cell: Values| {
                Value::Mapping(cell.into_iter().map(|(key, values)| (key.into(), sequence(values))).collect())
            };
            all.insert("matrix".into(), Value::Sequence(self.cells.into_iter().map(cell).collect()));
        }
        Value::Mapping(all)
    }

    /// Whether its variants depend on the variant of the job that needs it.
    pub(super) fn has_expressions(&self) -> bool {
        self.values().any(|value| expression::is_in(value))
    }

    /// Whether it may be left out as the needed job has no such variants.
    pub(super) fn is_without_variants(&self, file: &FileContext) -> bool {
        let variants = file.jobs.get(&self.job).filter(|_| self.optional && !self.cells.is_empty());
        variants.is_some_and(|variants| {
            variants.count.is_none() && !self.cells.iter().any(|cell| variants.any_matches(cell))
        })
    }

    /// Returns the need of the variant with the values of `cell`.
    pub(super) fn of_variant(&self, cell: &Cell<'_>) -> Self {
        let mut need = self.clone();
        for value in need.cells.iter_mut().flat_map(Values::values_mut).flatten() {
            *value = expression::evaluate(value, cell);
        }
        need
    }

    /// Returns the name of the needed job.
    pub(super) fn job(&self) -> &str {
        &self.job
    }

    /// Returns the values of the variants.
    pub(super) fn values(&self) -> impl Iterator<Item = &String> {
        self.cells.iter().flat_map(Values::values).flatten()
    }

    /// Whether artifacts of the needed job are downloaded.
    pub(super) const fn has_artifacts(&self) -> bool {
        self.artifacts
    }

    /// Whether it is about the same variants of the same job.
    fn is_same(&self, other: &Self) -> bool {
        self.job == other.job && self.cells == other.cells
    }

    /// Whether it includes all that `other` includes.
    fn covers(&self, other: &Self) -> bool {
        self.job == other.job
            && (self.cells.is_empty() || other.cells.iter().all(|cell| self.cells.contains(cell)))
    }
}

/// Returns the native list.
pub(crate) fn list(needs: Vec<Need>, is_need: bool) -> Value {
    Value::Sequence(needs.into_iter().map(|need| need.into_value(is_need)).collect())
}

impl Job<'_> {
    /// Returns the needed jobs.
    pub(crate) fn needs(&mut self) -> Option<Vec<Need>> {
        let entry = self.node.get("needs").filter(|entry| !entry.value.is_null())?;
        let needs = read(&entry.value, &self.path.key("needs"), self.file, self.log);
        self.check_expressions(&needs, entry);
        Some(needs)
    }

    /// Sets the native `needs` and `dependencies` of rules; `written` are the rules as in the file.
    pub(crate) fn add_needs(&self, rules: &mut [Rule], written: &Rc<Node>, log: &mut Log) {
        // What is wrong with these names is reported with the job's own needs.
        let named = self.node.get("dependencies").filter(|entry| !entry.value.is_null()).map(|entry| {
            let names = values::list(&entry.value).into_iter().filter_map(|item| values::text(item));
            names.filter_map(|name| find_job(self.file, name)).collect::<Vec<Need>>()
        });
        let path = self.path.key("rules").key("needs");
        let items = values::list(written).into_iter().filter(|item| values::is_mapping(item));
        for (rule, item) in rules.iter_mut().zip(items) {
            let Some(entry) = item.get("needs").filter(|entry| !entry.value.is_null()) else { continue };
            let needs = read(&entry.value, &path, self.file, log);
            if named.is_some() || needs.iter().any(|need| !need.artifacts) {
                let mut from: Vec<Need> = needs.iter().filter(|need| need.artifacts).cloned().collect();
                if let Some(named) = &named {
                    let is_needed = |one: &&Need| from.iter().any(|need| need.covers(one));
                    from = named.iter().filter(is_needed).cloned().collect();
                }
                rule.dependencies = Some(list(from, false));
            }
            rule.needs = Some(list(needs, true));
        }
    }

    /// Returns the jobs whose artifacts are requested; `None`: of all dependencies.
    pub(crate) fn dependencies(&mut self, needs: Option<&[Need]>) -> Option<Vec<Need>> {
        let Some(entry) = self.node.get("dependencies").filter(|entry| !entry.value.is_null()) else {
            let needs = needs.filter(|needs| needs.iter().any(|need| !need.artifacts))?;
            return Some(needs.iter().filter(|need| need.artifacts).cloned().collect());
        };
        let path = self.path.key("dependencies");
        let mut dependencies: Vec<Need> = Vec::new();
        for item in values::list(&entry.value) {
            let Some(name) = values::text(item) else {
                self.log.wrong_type(&path, item, "the names of jobs");
                continue;
            };
            if self.file.is_incomplete(name) {
                continue;
            }
            let Some(dependency) = find_job(self.file, name) else {
                let message = format!("there is no job {} to take artifacts from", quoted(name));
                self.log.invalid(&path, item.location, message);
                continue;
            };
            // As in GitLab, `needs: []` needs nothing, whatever the dependencies.
            let is_covered = |need: &&Need| {
                need.covers(&dependency) || need.has_expressions() && need.job == dependency.job
            };
            let needed = needs.map(|needs| needs.iter().find(is_covered));
            match needed {
                Some(None) if needs.is_some_and(|needs| !needs.is_empty()) => {
                    let message =
                        format!("the job does not need {}, but lists it under `dependencies`", quoted(name));
                    self.log.invalid(&path, item.location, message);
                }
                Some(None) => {}
                Some(Some(need)) if !need.artifacts => {}
                None if !self.is_of_earlier_stage(&dependency.job, item, &path) => {}
                Some(Some(_)) | None => {
                    if !dependencies.iter().any(|known| known.is_same(&dependency)) {
                        dependencies.push(dependency);
                    }
                }
            }
        }
        Some(dependencies)
    }

    /// Whether a dependency's stage comes before the job's own. One of the same stage is not waited for, so that there is nothing
    /// to download; one of a later stage is an error.
    fn is_of_earlier_stage(&mut self, dependency: &str, item: &Node, path: &Path) -> bool {
        let stage = |job: &str| self.file.stage_of.get(job).copied();
        let (Some(own), Some(other)) = (stage(self.name), stage(dependency)) else { return true };
        if other == own {
            let message = format!(
                "{} is in the same stage, so that the job does not wait for it and, as in GitLab, downloads nothing from it",
                quoted(dependency)
            );
            self.log.changed(path, item.location, message);
        } else if other > own {
            let message =
                format!("{} is in a later stage, so that there is nothing to download", quoted(dependency));
            let help = "list jobs of earlier stages";
            self.log.invalid_with_help(path, item.location, message, help);
        }
        other < own
    }
}

/// Returns the jobs that a list of needs names.
pub(super) fn read(node: &Rc<Node>, path: &Path, file: &FileContext, log: &mut Log) -> Vec<Need> {
    let items = values::list(node);
    if items.len() > MAX_NEEDS {
        let message = format!("a job needs at most {MAX_NEEDS} others, and this one {}", items.len());
        log.invalid(path, node.location, message);
        return Vec::new();
    }
    let mut all: Vec<Need> = Vec::new();
    for item in items {
        if let Some(need) = need(item, path, file, log) {
            if all.iter().any(|known| known.is_same(&need)) {
                let message = format!("{} is needed twice", quoted(&need.job));
                log.invalid(path, item.location, message);
            } else {
                all.push(need);
            }
        }
    }
    all
}

/// Returns the job of a name, or the variant of a job: `job: [value, value]` or `job 1/2`.
fn find_job(file: &FileContext, name: &str) -> Option<Need> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let found = |job: &str, cells| Need { job: job.to_owned(), cells, optional: false, artifacts: true };
    if file.jobs.contains_key(name) {
        return Some(found(name, Vec::new()));
    }
    let separators = name.match_indices(": [").chain(name.match_indices(' ')).map(|(at, _)| &name[..at]);
    separators.into_iter().find_map(|job| {
        let cell = file.jobs.get(job)?.find(job, name)?;
        Some(found(job, vec![cell]))
    })
}

/// Returns a needed job.
fn need(item: &Rc<Node>, path: &Path, file: &FileContext, log: &mut Log) -> Option<Need> {
    let mut artifacts = true;
    let mut written = values::text(item).map(|text| (text, item));
    let mut optional = false;
    let mut cells = Vec::new();
    for part in values::entries(item) {
        match part.key.as_str() {
            "job" => written = values::text(&part.value).map(|text| (text, &part.value)),
            "optional" => optional = values::flag_of(part, path, log).unwrap_or(false),
            "artifacts" => artifacts = values::flag_of(part, path, log).unwrap_or(true),
            "parallel" => {
                let path = path.key("parallel");
                match part.value.get("matrix") {
                    Some(entry) => cells = matrix::matrices(entry, &path.key("matrix"), log),
                    None => log.wrong_type(&path, &part.value, "a mapping with `matrix`"),
                }
            }
            "pipeline" | "project" | "ref" => {
                if part.key != "ref" {
                    let why = "jobs of other pipelines cannot be needed";
                    log.unsupported(path, part, why, "remove it, and fetch the files in the job's script");
                    return None;
                }
            }
            _ => log.unknown_key(
                path,
                part,
                &["job", "artifacts", "optional", "parallel", "pipeline", "project"],
            ),
        }
    }
    let Some((name, node)) = written else {
        log.wrong_type(path, item, "the names of jobs, or mappings with `job`");
        return None;
    };
    // What is missing in a job may be its matrix.
    if file.is_incomplete(name) {
        return None;
    }
    match find_job(file, name) {
        Some(need) => {
            let cells = if cells.is_empty() { need.cells } else { cells };
            let need = Need { cells, optional, artifacts, ..need };
            // One that is optional may name variants that do not exist.
            (need.has_expressions() || !need.is_without_variants(file)).then_some(need)
        }
        None if optional => None,
        None => {
            let message = match file
                .jobs
                .keys()
                .find(|job| name.strip_prefix(job.as_str()).is_some_and(|rest| rest.starts_with(": [")))
            {
                Some(job) => format!("the matrix of {} has no variant {}", quoted(job), quoted(name)),
                None => format!("there is no job {} to need", quoted(name)),
            };
            log.invalid(path, node.location, message);
            None
        }
    }
}
