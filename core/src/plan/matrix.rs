//! Expansion of a job's matrix into variants.

use crate::pipeline::{Cell, Job};
use crate::text::substitution::substitute_bounded;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Maximum number of jobs in one execution.
pub const MAX_JOBS: usize = 10_000;

/// Maximum length of the template of the names of variants, in bytes.
pub(crate) const MAX_TEMPLATE_BYTES: usize = 1024;

/// Maximum number of bytes by which a name made by a template is longer than the template: a name has 255 characters.
pub(crate) const MAX_NAME_BYTES: usize = 4 * 255;

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

/// Returns the second of two jobs that have the same name once matrices are expanded, by its name in the file, and that name. Two
/// variants of one job are not compared.
pub(crate) fn name_clash(jobs: &[Job]) -> Option<(&str, String)> {
    if jobs.iter().all(|job| max_variants(job) <= 1) {
        return None;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (at, job) in jobs.iter().enumerate() {
        for name in variants(job).iter().filter_map(|variant| variant.name(job)) {
            match seen.entry(name) {
                Entry::Occupied(other) if *other.get() != at => {
                    return Some((job.name.as_str(), other.key().clone()));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(at);
                }
            }
        }
    }
    None
}

impl Variant {
    /// Returns its name; `None` if the template makes it too long.
    pub(super) fn name(&self, job: &Job) -> Option<String> {
        match self.position {
            Some((number, total)) if job.matrix.is_empty() => Some(format!("{} {number}/{total}", job.name)),
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

/// Returns the name of the variant of the job `base` with these matrix values; `None` if the template makes it too long.
pub(crate) fn variant_name(template: Option<&str>, base: &str, cell: &Cell) -> Option<String> {
    if cell.is_empty() {
        return Some(base.to_owned());
    }
    let join = |texts: Vec<String>| texts.join(", ");
    match template {
        Some(template) if template.len() > MAX_TEMPLATE_BYTES => None,
        Some(template) => {
            let all = join(cell.values().cloned().collect());
            substitute_bounded(template, MAX_NAME_BYTES, |name| match name {
                "matrix" => Some(&all),
                "job" => Some(base),
                _ => Some(cell.get(name).map_or("", String::as_str)),
            })
        }
        None => {
            let values = join(cell.iter().map(|(key, value)| format!("{key}={value}")).collect());
            Some(format!("{base} [{values}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, MAX_NAME_BYTES, variant_name};

    #[test]
    fn template_does_not_make_a_name_too_long() {
        let cell = Cell::from([("A".to_owned(), "x".repeat(MAX_NAME_BYTES / 2))]);
        assert!(variant_name(Some("${A}${A}"), "job", &cell).is_some());
        assert_eq!(variant_name(Some("${A}${A}${A}"), "job", &cell), None);
        let short = Cell::from([("A".to_owned(), String::new())]);
        assert_eq!(variant_name(Some("${A}".repeat(300).as_str()), "job", &short), None);
    }
}
