//! The formats of report files, and what their findings say.

use super::lists::{Each, first};
use crate::summary::annotation::{Annotation, AnnotationLevel, path_of_uri};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny},
};
use std::collections::HashMap;

/// Maximum number of rules in a SARIF file.
pub(super) const MAX_RULES: usize = 100_000;
/// Maximum number of runs in a SARIF file.
pub(super) const MAX_RUNS: usize = 1_000;

/// The rules of each run in a SARIF file.
#[derive(Default)]
pub(super) struct RunRules {
    pub runs: Vec<Vec<Rule>>,
    pub count: usize,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Tool {
    pub driver: Driver,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Driver {
    #[serde(deserialize_with = "rules")]
    pub rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Rule {
    pub id: String,
    short_description: Option<Message>,
    default_configuration: Option<Configuration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    level: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    text: Option<String>,
    markdown: Option<String>,
}

impl Message {
    fn shown(self) -> Option<String> {
        self.text.or(self.markdown)
    }
}

/// A result in SARIF.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Finding {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    kind: Option<String>,
    level: Option<String>,
    message: Message,
    #[serde(deserialize_with = "first")]
    locations: Option<Location>,
    suppressions: Option<Vec<IgnoredAny>>,
    baseline_state: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Option<Region>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ArtifactLocation {
    uri: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Region {
    start_line: Option<u64>,
    start_column: Option<u64>,
    end_line: Option<u64>,
    end_column: Option<u64>,
}

impl Finding {
    /// Returns the annotation, unless the result is suppressed or says that all is well.
    pub fn annotation(self, rules: &[Rule], by_id: &HashMap<&str, &Rule>) -> Option<Annotation> {
        let is_suppressed = self.suppressions.is_some_and(|all| !all.is_empty());
        let is_gone = self.baseline_state.as_deref() == Some("absent");
        let passed = matches!(self.kind.as_deref(), Some("pass" | "notApplicable"));
        if is_suppressed || is_gone || passed {
            return None;
        }
        let by_index = self.rule_index.and_then(|index| rules.get(usize::try_from(index).ok()?));
        let by_id = || self.rule_id.as_deref().and_then(|id| by_id.get(id).copied());
        let rule = by_index.or_else(by_id);
        let default = || rule?.default_configuration.as_ref()?.level.clone();
        let is_failure = matches!(self.kind.as_deref(), None | Some("fail"));
        let level = match self.level.or_else(default).as_deref() {
            Some("error") => AnnotationLevel::Failure,
            Some("note" | "none") => AnnotationLevel::Notice,
            None if !is_failure => AnnotationLevel::Notice,
            _ => AnnotationLevel::Warning,
        };
        let described = || rule?.short_description.as_ref()?.text.clone();
        let message = self.message.shown().or_else(described).unwrap_or_default();
        let title = self.rule_id.or_else(|| rule.map(|rule| rule.id.clone()));
        let mut annotation = Annotation { title, ..Annotation::new(level, message) };
        if let Some(location) = self.locations {
            let PhysicalLocation { artifact_location, region } = location.physical_location;
            let region = region.unwrap_or_default();
            annotation.path = artifact_location.uri.as_deref().map(path_of_uri);
            annotation.line = number(region.start_line);
            annotation.column = number(region.start_column);
            annotation.end_line = number(region.end_line);
            annotation.end_column = number(region.end_column);
        }
        Some(annotation)
    }
}

/// An issue of Code Climate.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    description: String,
    check_name: Option<String>,
    severity: Option<String>,
    location: IssueLocation,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct IssueLocation {
    path: Option<String>,
    lines: Option<Lines>,
    positions: Option<Positions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Lines {
    begin: Option<u64>,
    end: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Positions {
    begin: Position,
    end: Position,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Position {
    line: Option<u64>,
    column: Option<u64>,
}

impl Issue {
    pub fn annotation(self) -> Annotation {
        let level = match self.severity.as_deref() {
            Some("blocker" | "critical") => AnnotationLevel::Failure,
            Some("info") => AnnotationLevel::Notice,
            _ => AnnotationLevel::Warning,
        };
        let (lines, at) =
            (self.location.lines.unwrap_or_default(), self.location.positions.unwrap_or_default());
        Annotation {
            path: self.location.path,
            line: number(lines.begin.or(at.begin.line)),
            column: number(at.begin.column),
            end_line: number(lines.end.or(at.end.line)),
            end_column: number(at.end.column),
            title: self.check_name,
            ..Annotation::new(level, self.description)
        }
    }
}

/// A finding in a security report of GitLab.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Vulnerability {
    name: Option<String>,
    message: Option<String>,
    description: Option<String>,
    severity: Option<String>,
    location: VulnerabilityLocation,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VulnerabilityLocation {
    file: Option<String>,
    start_line: Option<u64>,
    end_line: Option<u64>,
}

impl Vulnerability {
    pub fn annotation(self) -> Annotation {
        let level = match self.severity.as_deref() {
            Some("Critical" | "High") => AnnotationLevel::Failure,
            Some("Info") => AnnotationLevel::Notice,
            _ => AnnotationLevel::Warning,
        };
        let title = self.name.or_else(|| self.message.clone());
        Annotation {
            path: self.location.file,
            line: number(self.location.start_line),
            end_line: number(self.location.end_line),
            title,
            ..Annotation::new(level, self.description.or(self.message).unwrap_or_default())
        }
    }
}

pub(super) fn number(number: Option<u64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

/// Reads the rules of a run.
fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let mut rules = Vec::new();
    let add = |rule| {
        rules.push(rule);
        if rules.len() > MAX_RULES { Err(too_many_rules()) } else { Ok(()) }
    };
    Each::new(add).deserialize(deserializer)?;
    Ok(rules)
}

/// What is wrong with a file that has too many rules.
pub(super) fn too_many_rules() -> String {
    format!("the file has more than {MAX_RULES} rules")
}
