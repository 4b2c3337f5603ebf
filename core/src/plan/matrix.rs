//! Expansion of a job's matrix into variants.

use crate::pipeline::{Cell, Job};
use crate::text::substitution::substitute;

/// Maximum number of jobs in one execution.
pub const MAX_JOBS: usize = 10_000;

/// One variant of a job.
pub(super) struct Variant {
    /// Its matrix values.
    pub(super) cell: Cell,
    /// Its number and the number of variants, for a job with a matrix or `parallel`.
    pub(super) position: Option<(usize, usize)>,
}

/// Returns an upper bound of the number of variants of a job.
pub(crate) fn max_variants(job: &Job) -> usize {
    if job.matrix.is_empty() {
        job.parallel.map_or(1, |count| count as usize)
    } else {
        job.matrix.max_count()
    }
}

/// Returns the variants of a job: one for each combination of its matrix, the last key varying fastest.
pub(super) fn variants(job: &Job) -> Vec<Variant> {
    if job.matrix.is_empty() {
        let Some(count) = job.parallel else { return vec![Variant { cell: Cell::new(), position: None }] };
        let total = (count as usize).min(MAX_JOBS);
        let cell = |number: usize| Cell::from([("CI_NODE_INDEX".to_owned(), number.to_string())]);
        let variant = |number| Variant { cell: cell(number), position: Some((number, total)) };
        return (1..=total).map(variant).collect();
    }
    let cells = job.matrix.cells(MAX_JOBS + 1);
    let total = cells.len();
    let variant = |(at, cell)| Variant { cell, position: Some((at + 1, total)) };
    cells.into_iter().enumerate().map(variant).collect()
}

impl Variant {
    /// Returns its name.
    pub(super) fn name(&self, job: &Job) -> String {
        match self.position {
            Some((number, total)) if job.matrix.is_empty() => format!("{} {number}/{total}", job.name),
            _ => variant_name(job.variant_name.as_deref(), &job.name, &self.cell),
        }
    }

    /// Sets the variables with its number and the number of variants, unless the job has them.
    pub(super) fn add_position(&self, variables: &mut indexmap::IndexMap<String, String>) {
        let Some((number, total)) = self.position else { return };
        for (name, value) in [("CI_NODE_INDEX", number), ("CI_NODE_TOTAL", total)] {
            variables.entry(name.to_owned()).or_insert_with(|| value.to_string());
        }
    }
}

/// Returns the name of the variant of the job `base` with these matrix values.
pub(crate) fn variant_name(template: Option<&str>, base: &str, cell: &Cell) -> String {
    if cell.is_empty() {
        return base.to_owned();
    }
    let join = |texts: Vec<String>| texts.join(", ");
    match template {
        Some(template) => {
            let all = join(cell.values().cloned().collect());
            substitute(template, |name| match name {
                "matrix" => Some(&all),
                "job" => Some(base),
                _ => Some(cell.get(name).map_or("", String::as_str)),
            })
        }
        None => {
            format!("{base} [{}]", join(cell.iter().map(|(key, value)| format!("{key}={value}")).collect()))
        }
    }
}
