//! Translates `parallel`: a number, or a matrix.

use indexmap::IndexMap;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::Path;
use crate::pipeline::is_variable_name;
use crate::pipeline::yaml::tree::MapEntry;

/// Maximum number of variants of a job: GitLab's limit.
const MAX_VARIANTS: u64 = 200;

/// The variants of a job and their values.
#[derive(Default)]
pub(crate) struct MatrixVariants {
    /// The matrices, each for one native job; empty if the job runs once.
    pub(crate) matrices: Vec<IndexMap<String, Vec<String>>>,
    /// `CI_NODE_TOTAL`, if it is not 1.
    pub(crate) total: Option<u64>,
}

impl MatrixVariants {
    /// Returns the variables that differ between variants.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.matrices.iter().flat_map(|matrix| matrix.keys()).map(String::as_str)
    }

    /// Returns the number of variants in the matrices before one.
    pub(crate) fn before(&self, index: usize) -> u64 {
        let sizes = self.matrices.iter().take(index).map(size);
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the number of native jobs.
    pub(crate) fn jobs(&self) -> usize {
        self.matrices.len().max(1)
    }
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
        let values = (1..=count).map(|index| index.to_string()).collect();
        let matrix = IndexMap::from([("CI_NODE_INDEX".to_owned(), values)]);
        return MatrixVariants { matrices: vec![matrix], total: Some(count) };
    }
    let mut matrices = Vec::new();
    for part in values::entries(&entry.value) {
        if part.key != "matrix" {
            log.unknown_key(&path, part, &["matrix"]);
            continue;
        }
        let path = path.key("matrix");
        for item in values::list(&part.value) {
            let mut matrix = IndexMap::new();
            for entry in values::entries(item) {
                let at = path.key(&entry.key);
                if !is_variable_name(&entry.key) {
                    log.invalid(
                        &at,
                        entry.key_location,
                        format!("`{}` is not a valid variable name", entry.key),
                    );
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
                log.wrong_type(&path, item, "a list of mappings of names to values");
            } else {
                matrices.push(matrix);
            }
        }
    }
    let total = matrices.iter().map(size).fold(0, u64::saturating_add);
    if total > MAX_VARIANTS || matrices.is_empty() {
        log.invalid(
            &path,
            entry.value.location,
            format!("this matrix has {total} combinations; it must have 1 to {MAX_VARIANTS}"),
        );
        return MatrixVariants::default();
    }
    MatrixVariants { matrices, total: Some(total) }
}

/// Returns the number of variants of a matrix.
fn size(matrix: &IndexMap<String, Vec<String>>) -> u64 {
    matrix.values().fold(1, |count, values| count.saturating_mul(values.len() as u64))
}
