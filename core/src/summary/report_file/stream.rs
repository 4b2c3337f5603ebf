//! Reads report files one finding at a time: a file may have millions.

use super::formats::{Finding, MAX_RULES, MAX_RUNS, Rule, RunRules, Tool, Vulnerability, too_many_rules};
use super::lists::Each;
use crate::summary::annotation::Annotation;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{collections::HashMap, fmt};

/// What a pass over a file does.
pub(super) enum Pass<'a> {
    /// Collects the rules of each run.
    Rules(&'a mut RunRules),
    /// Passes on the findings, which refer to the rules.
    Findings(&'a RunRules, &'a mut dyn FnMut(Annotation)),
}

impl Pass<'_> {
    /// Passes on a finding.
    pub fn add(&mut self, annotation: Annotation) {
        if let Self::Findings(_, sink) = self {
            sink(annotation);
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum FileKey {
    Runs,
    Vulnerabilities,
    #[serde(other)]
    Other,
}

/// Reads a file of SARIF, or a security report of GitLab. Returns whether it is one of them.
pub(super) struct FileReader<'a, 'b>(pub &'a mut Pass<'b>);

impl<'de> DeserializeSeed<'de> for FileReader<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileReader<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let pass = self.0;
        let mut is_known = false;
        let mut run = 0;
        while let Some(key) = map.next_key()? {
            is_known |= match key {
                FileKey::Runs => map.next_value_seed(RunsReader { pass, run: &mut run })?,
                FileKey::Vulnerabilities => map.next_value_seed(Each::new(|one: Vulnerability| {
                    pass.add(one.annotation());
                    Ok(())
                }))?,
                FileKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
        }
        Ok(is_known)
    }
}

/// Reads the runs of a SARIF file.
struct RunsReader<'a, 'b> {
    pass: &'a mut Pass<'b>,
    /// Number of runs before.
    run: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for RunsReader<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RunsReader<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while list.next_element_seed(RunReader { pass: self.pass, run: *self.run })?.is_some() {
            *self.run += 1;
            if *self.run > MAX_RUNS {
                return Err(Error::custom(format!("the file has more than {MAX_RUNS} runs")));
            }
        }
        Ok(true)
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum RunKey {
    Tool,
    Results,
    #[serde(other)]
    Other,
}

/// Reads one run of a SARIF file.
struct RunReader<'a, 'b> {
    pass: &'a mut Pass<'b>,
    run: usize,
}

impl<'de> DeserializeSeed<'de> for RunReader<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RunReader<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut tool = Tool::default();
        let rules: &[Rule] = match &*self.pass {
            Pass::Rules(_) => &[],
            Pass::Findings(rules, _) => rules.runs.get(self.run).map_or(&[], Vec::as_slice),
        };
        let mut by_id = HashMap::new();
        for rule in rules {
            by_id.entry(rule.id.as_str()).or_insert(rule);
        }
        while let Some(key) = map.next_key()? {
            match key {
                RunKey::Tool if matches!(self.pass, Pass::Rules(_)) => tool = map.next_value()?,
                RunKey::Results => drop(map.next_value_seed(Each::new(|one: Finding| {
                    if let Some(annotation) = one.annotation(rules, &by_id) {
                        self.pass.add(annotation);
                    }
                    Ok(())
                }))?),
                RunKey::Tool | RunKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Pass::Rules(rules) = self.pass {
            rules.count += tool.driver.rules.len();
            if rules.count > MAX_RULES {
                return Err(Error::custom(too_many_rules()));
            }
            rules.runs.push(tool.driver.rules);
        }
        Ok(())
    }
}
