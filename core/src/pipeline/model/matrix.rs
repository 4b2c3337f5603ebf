//! The variants of a job, and the jobs that another one names.

use std::collections::HashSet;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One value for each key of a matrix.
pub type Cell = IndexMap<String, String>;

/// Values of matrix keys: a cell matches if it has one of the values of each key.
pub type CellFilter = IndexMap<String, Vec<String>>;

/// Whether a cell has one of the values of each key of `filter`.
pub(crate) fn is_match(filter: &CellFilter, cell: &Cell) -> bool {
    filter.iter().all(|(key, values)| cell.get(key).is_some_and(|value| values.contains(value)))
}

/// Variables and the values that a job runs with, once for each combination. Without parts, it runs once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Matrix(pub Vec<MatrixPart>);

/// Some of the combinations of a [`Matrix`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixPart {
    /// Keys and the values each takes.
    #[serde(default)]
    pub keys: IndexMap<String, Vec<String>>,
    /// Combinations that are left out.
    #[serde(default)]
    pub exclude: Vec<CellFilter>,
    /// Combinations that are added. Those with values of `keys` that some combinations have add their other values to these.
    #[serde(default)]
    pub include: Vec<Cell>,
}

impl MatrixPart {
    /// An upper bound of the number of combinations.
    fn max_count(&self) -> usize {
        self.product_count().saturating_add(self.include.len())
    }

    /// The number of combinations of the keys.
    fn product_count(&self) -> usize {
        if self.keys.is_empty() {
            return 0;
        }
        self.keys.values().fold(1, |count, values| count.saturating_mul(values.len()))
    }

    /// Appends the combinations, the last key varying fastest.
    fn add_cells(&self, cells: &mut Vec<Cell>, max: usize) {
        let mut own = if self.keys.is_empty() { Vec::new() } else { vec![Cell::new()] };
        for (key, values) in &self.keys {
            let Some((last, others)) = values.split_last() else {
                own.clear();
                break;
            };
            let mut longer = Vec::new();
            for mut cell in own {
                for value in others {
                    let mut cell = cell.clone();
                    cell.insert(key.clone(), value.clone());
                    longer.push(cell);
                }
                cell.insert(key.clone(), last.clone());
                longer.push(cell);
                if longer.len() >= max {
                    longer.truncate(max);
                    break;
                }
            }
            own = longer;
        }
        own.retain(|cell| !self.exclude.iter().any(|filter| is_match(filter, cell)));
        let originals = own.clone();
        for included in &self.include {
            let (shared, extra): (Vec<_>, Vec<_>) =
                included.iter().partition(|(key, _)| self.keys.contains_key(*key));
            let matching = |cell: &Cell| shared.iter().all(|(key, value)| cell.get(*key) == Some(value));
            let mut is_known = false;
            for (cell, _) in own.iter_mut().zip(&originals).filter(|(_, original)| matching(original)) {
                is_known = true;
                cell.extend(extra.iter().map(|(key, value)| ((*key).clone(), (*value).clone())));
            }
            if !is_known {
                own.push(included.clone());
            }
        }
        cells.extend(own);
    }
}

impl Matrix {
    /// Returns the matrix of these keys.
    #[must_use]
    pub fn of(keys: IndexMap<String, Vec<String>>) -> Self {
        Self(vec![MatrixPart { keys, ..MatrixPart::default() }])
    }

    /// Whether the job runs once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An upper bound of the number of combinations.
    pub(crate) fn max_count(&self) -> usize {
        if self.is_empty() {
            return 1;
        }
        self.0.iter().fold(0, |count, part| count.saturating_add(part.max_count()))
    }

    /// Returns the combinations, at most about `max`; one without values if there are no parts.
    pub(crate) fn cells(&self, max: usize) -> Vec<Cell> {
        if self.is_empty() {
            return vec![Cell::new()];
        }
        let mut cells = Vec::new();
        for part in &self.0 {
            part.add_cells(&mut cells, max);
        }
        cells
    }

    /// Returns all keys, each once.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        let keys = |part| {
            let MatrixPart { keys, include, .. }: &MatrixPart = part;
            keys.keys().chain(include.iter().flat_map(IndexMap::keys)).map(String::as_str)
        };
        self.0.iter().flat_map(keys).filter(move |key| seen.insert(*key))
    }

    /// Returns the values that a key takes.
    pub(crate) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of_part = move |part: &'a MatrixPart| {
            let own = part.keys.get(key).into_iter().flatten();
            own.chain(part.include.iter().filter_map(move |cell| cell.get(key))).map(String::as_str)
        };
        self.0.iter().flat_map(of_part)
    }
}

/// A job that another one needs, or some of its variants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Need {
    /// Its name in the file.
    pub job: String,
    /// Whether it may be missing from the execution.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The variants, each of which matches one of these. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellFilter>,
}

impl Need {
    /// Returns the need of a whole job.
    #[must_use]
    pub fn of(job: &str) -> Self {
        Self { job: job.to_owned(), ..Self::default() }
    }

    /// Whether it includes this variant of its job.
    #[must_use]
    pub fn includes(&self, cell: &Cell) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|filter| is_match(filter, cell))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Matrix, MatrixPart};
    use indexmap::IndexMap;

    fn cell(text: &str) -> Cell {
        text.split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn filter(text: &str) -> IndexMap<String, Vec<String>> {
        let values = |value: String| value.split(',').map(str::to_owned).collect();
        cell(text).into_iter().map(|(key, value)| (key, values(value))).collect()
    }

    fn cells(part: MatrixPart) -> Vec<String> {
        let text = |cell: Cell| {
            cell.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        Matrix(vec![part]).cells(100).into_iter().map(text).collect()
    }

    #[test]
    fn included_values_are_added_to_matching_combinations_or_are_new_ones() {
        let keys = filter("os=a,b v=1,2");
        let part = MatrixPart {
            keys: keys.clone(),
            exclude: vec![filter("os=b v=2")],
            include: vec![cell("fast=yes"), cell("os=a v=2 extra=x"), cell("os=c"), cell("os=b v=2")],
        };
        assert_eq!(
            cells(part),
            ["os=a v=1 fast=yes", "os=a v=2 fast=yes extra=x", "os=b v=1 fast=yes", "os=c", "os=b v=2"]
        );
        let only_included = MatrixPart { include: vec![cell("os=a"), cell("os=b")], ..MatrixPart::default() };
        assert_eq!(cells(only_included), ["os=a", "os=b"]);
        assert_eq!(cells(MatrixPart { keys, exclude: vec![filter("os=a,b")], include: Vec::new() }), [""; 0]);
    }
}
