//! Expansion of a job's matrix into variants.

use indexmap::IndexMap;

/// Maximum number of jobs in one execution.
pub const MAX_JOBS: usize = 10_000;

/// Returns the number of variants of a matrix.
pub(super) fn count(matrix: &IndexMap<String, Vec<String>>) -> usize {
    matrix.values().fold(1, |count, values| count.saturating_mul(values.len()))
}

/// Returns every combination of the matrix's values, the last key varying fastest; without a matrix, one empty
/// combination.
pub(super) fn combinations(matrix: &IndexMap<String, Vec<String>>) -> Vec<Vec<(String, String)>> {
    let mut combinations = vec![Vec::new()];
    for (key, values) in matrix {
        combinations = combinations
            .into_iter()
            .flat_map(|prefix: Vec<(String, String)>| {
                values.iter().map(move |value| {
                    let mut combination = prefix.clone();
                    combination.push((key.clone(), value.clone()));
                    combination
                })
            })
            .take(MAX_JOBS + 1)
            .collect();
    }
    combinations
}

/// Returns the variables about the position of a variant and the number of variants.
pub(super) fn node_variables(node: Option<(usize, usize)>) -> IndexMap<String, String> {
    let pairs = node.map(|(index, total)| [("CI_NODE_INDEX", index), ("CI_NODE_TOTAL", total)]);
    pairs.into_iter().flatten().map(|(name, number)| (name.to_owned(), number.to_string())).collect()
}

/// Returns the name of the variant with these matrix values.
pub(super) fn variant_name(base: &str, values: &[(String, String)]) -> String {
    if values.is_empty() {
        return base.to_owned();
    }
    let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{base} [{}]", values.join(", "))
}
