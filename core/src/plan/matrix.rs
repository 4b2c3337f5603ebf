//! The variants of a job with a matrix.

use indexmap::IndexMap;

/// The most jobs that one execution may have.
pub const MAX_JOBS: usize = 10_000;

/// How many variants a matrix has.
pub(super) fn count(matrix: &IndexMap<String, Vec<String>>) -> usize {
    matrix.values().fold(1, |count, values| count.saturating_mul(values.len()))
}

/// Every combination of the matrix's values, the last key varying fastest; one empty one without a matrix.
pub(super) fn combinations(matrix: &IndexMap<String, Vec<String>>) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for (key, values) in matrix {
        all = all
            .into_iter()
            .flat_map(|before: Vec<(String, String)>| {
                values.iter().map(move |value| {
                    let mut longer = before.clone();
                    longer.push((key.clone(), value.clone()));
                    longer
                })
            })
            .take(MAX_JOBS + 1)
            .collect();
    }
    all
}

/// The name of a job with these values of its matrix.
pub(super) fn variant_name(base: &str, values: &[(String, String)]) -> String {
    if values.is_empty() {
        return base.to_owned();
    }
    let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{base} [{}]", values.join(", "))
}
