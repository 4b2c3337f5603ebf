//! Translates `parallel`: a number, or a matrix.

pub(crate) mod expression;

use indexmap::IndexMap;
use serde_yaml::{Mapping, Value};

use super::services::sequence;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::Path;
use crate::pipeline::is_variable_name;
use crate::pipeline::yaml::tree::MapEntry;

/// Maximum number of variants of a job: GitLab's limit.
const MAX_VARIANTS: u64 = 200;

/// Values of the variables of a matrix.
pub(crate) type Values = IndexMap<String, Vec<String>>;

/// The variants of a job and their values.
#[derive(Default)]
pub(crate) struct MatrixVariants {
    /// The matrices, whose combinations the job runs with; empty if it has none.
    pub(crate) matrices: Vec<Values>,
    /// How many times the job runs, if `parallel` is a number.
    pub(crate) count: Option<u64>,
}

impl MatrixVariants {
    /// Returns the variables that differ between variants.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let numbered = !self.matrices.is_empty() || self.count.is_some();
        let own = self.matrices.iter().flat_map(|matrix| matrix.keys()).map(String::as_str);
        own.chain(numbered.then_some("CI_NODE_INDEX"))
    }

    /// Whether a variant has one of the values of each key of `filter`.
    pub(crate) fn any_matches(&self, filter: &Values) -> bool {
        let has = |own: &Values, key: &String, values: &[String]| {
            own.get(key).is_some_and(|own| own.iter().any(|value| values.contains(value)))
        };
        self.matrices.iter().any(|own| filter.iter().all(|(key, values)| has(own, key, values)))
    }

    /// Sets the native keys.
    pub(crate) fn write(&self, body: &mut Mapping) {
        let value = |matrix: &Values| {
            let pairs = matrix.iter().map(|(key, values)| (key.as_str().into(), sequence(values.clone())));
            Value::Mapping(pairs.collect())
        };
        if let Some(count) = self.count {
            body.insert("parallel".into(), count.into());
        }
        match self.matrices.as_slice() {
            [] => return,
            [only] => body.insert("matrix".into(), value(only)),
            several => body.insert("matrix".into(), Value::Sequence(several.iter().map(value).collect())),
        };
        // As in GitLab: `job: [value, value]`.
        body.insert("variant_name".into(), "${job}: [${matrix}]".into());
    }

    /// Returns the values of the variant that GitLab calls `name`, a variant of the job `job`.
    pub(crate) fn find(&self, job: &str, name: &str) -> Option<Values> {
        let rest = name.strip_prefix(job)?;
        if let Some(total) = self.count {
            let (number, of) = rest.strip_prefix(' ')?.split_once('/')?;
            let is_known =
                of.parse() == Ok(total) && number.parse().is_ok_and(|n: u64| (1..=total).contains(&n));
            return is_known.then(|| IndexMap::from([("CI_NODE_INDEX".to_owned(), vec![number.to_owned()])]));
        }
        let wanted = rest.strip_prefix(": [")?.strip_suffix(']')?;
        self.matrices.iter().find_map(|matrix| find_cell(matrix, wanted))
    }
}

/// Returns the combination of a matrix whose values, joined, are `wanted`.
fn find_cell(matrix: &Values, wanted: &str) -> Option<Values> {
    let mut found: Vec<(&str, Values)> = vec![(wanted, Values::new())];
    for (at, (key, values)) in matrix.iter().enumerate() {
        let mut next = Vec::new();
        for (rest, cell) in &found {
            let rest = if at == 0 { Some(*rest) } else { rest.strip_prefix(", ") };
            for (value, rest) in
                values.iter().filter_map(|value| Some((value, rest?.strip_prefix(value.as_str())?)))
            {
                let mut cell = cell.clone();
                cell.insert(key.clone(), vec![value.clone()]);
                next.push((rest, cell));
            }
        }
        found = next;
    }
    found.into_iter().find(|(rest, _)| rest.is_empty()).map(|(_, cell)| cell)
}

/// Translates `parallel`.
pub(crate) fn read(entry: Option<&MapEntry>, path: &Path, log: &mut Log) -> MatrixVariants {
    let Some(entry) = entry.filter(|entry| !entry.value.is_null()) else { return MatrixVariants::default() };
    let path = path.key("parallel");
    if !values::is_mapping(&entry.value) {
        let count = values::text(&entry.value).and_then(|text| text.parse::<u64>().ok());
        let Some(count) = count.filter(|count| (1..=MAX_VARIANTS).contains(count)) else {
            log.wrong_type(&path, &entry.value, "a number from 1 to 200, or a mapping with `matrix`");
            return MatrixVariants::default();
        };
        return MatrixVariants { matrices: Vec::new(), count: Some(count) };
    }
    for part in values::entries(&entry.value).iter().filter(|part| part.key != "matrix") {
        log.unknown_key(&path, part, &["matrix"]);
    }
    let Some(matrix) = entry.value.get("matrix") else { return MatrixVariants::default() };
    let matrices = matrices(matrix, &path.key("matrix"), log);
    let count = |matrix: &Values| {
        matrix.values().fold(1_u64, |count, values| count.saturating_mul(values.len() as u64))
    };
    let total = matrices.iter().fold(0_u64, |total, matrix| total.saturating_add(count(matrix)));
    if total > MAX_VARIANTS || matrices.is_empty() {
        log.invalid(
            &path,
            matrix.value.location,
            format!("this matrix has {total} combinations; it must have 1 to {MAX_VARIANTS}"),
        );
        return MatrixVariants::default();
    }
    MatrixVariants { matrices, count: None }
}

/// Returns the mappings of a matrix: that of `parallel`, or that of a need.
pub(crate) fn matrices(entry: &MapEntry, path: &Path, log: &mut Log) -> Vec<Values> {
    let mut matrices = Vec::new();
    for item in values::list(&entry.value) {
        let mut matrix = Values::new();
        for entry in values::entries(item) {
            let at = path.key(&entry.key);
            if !is_variable_name(&entry.key) {
                let message = format!("`{}` is not a valid variable name", entry.key);
                log.invalid(&at, entry.key_location, message);
                continue;
            }
            let mut values: Vec<String> = Vec::new();
            for (text, _) in values::texts(&entry.value, &at, log) {
                if !values.iter().any(|value| value == text) {
                    values.push(text.to_owned());
                }
            }
            if values.is_empty() {
                log.invalid(&at, entry.key_location, format!("`{}` has no values", entry.key));
            }
            matrix.insert(entry.key.clone(), values);
        }
        if matrix.is_empty() {
            log.wrong_type(path, item, "a list of mappings of names to values");
        } else {
            matrices.push(matrix);
        }
    }
    matrices
}
