//! Needs that depend on the variant of the job that has them.

use serde_yaml::Value;

use super::{Need, list, read};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::rules::Rule;
use crate::gitlab::findings::Log;
use crate::gitlab::job::context::Job;
use crate::gitlab::job::matrix::expression::{self, Cell};
use crate::gitlab::values;
use crate::pipeline::finding::quoted;
use crate::pipeline::yaml::tree::MapEntry;

/// Returns the condition that a variant has these values.
fn is_variant(cell: &Cell<'_>) -> CelExpr {
    cell.iter().fold(CelExpr::constant(true), |all, (name, value)| {
        all.and(CelExpr::equal(CelExpr::variable(name), CelExpr::literal(value)))
    })
}

impl Job<'_> {
    /// Reports the expressions of needs that are not those of the job's own matrix.
    pub(super) fn check_expressions(&mut self, needs: &[Need], entry: &MapEntry) {
        let variants = self.file.jobs.get(self.name);
        let is_known = |body: &str| {
            let name = body.strip_prefix("matrix.");
            let mut matrices = variants.iter().flat_map(|variants| &variants.matrices).peekable();
            name.is_some_and(|name| matrices.peek().is_some() && matrices.all(|one| one.contains_key(name)))
        };
        let mut unknown = None;
        for value in needs.iter().flat_map(Need::values) {
            expression::replace(value, |body| {
                if !is_known(body) {
                    unknown.get_or_insert_with(|| body.to_owned());
                }
                ""
            });
        }
        if let Some(body) = unknown {
            let message = format!("{} is not a key of the matrix of this job", quoted(&body));
            let help = "write `$[[ matrix.NAME ]]` with a key of `parallel: matrix` of the job itself";
            self.log.invalid_with_help(&self.path.key("needs"), entry.value.location, message, help);
        }
    }

    /// Returns the rules with the needs of each variant, if they depend on it.
    pub(in crate::gitlab::job) fn with_needs_of_variants(&self, rules: Vec<Rule>) -> Vec<Rule> {
        let entry = self.node.get("needs").filter(|entry| !entry.value.is_null());
        let Some(entry) = entry else { return rules };
        // What is wrong with them is reported elsewhere.
        let needs = read(&entry.value, &self.path, self.file, &mut Log::default());
        let Some(variants) = self.file.jobs.get(self.name) else { return rules };
        if !needs.iter().any(Need::has_expressions) {
            return rules;
        }
        let named = self.node.get("dependencies").filter(|entry| !entry.value.is_null());
        let named: Option<Vec<&str>> = named.map(|entry| {
            values::list(&entry.value).into_iter().filter_map(|item| values::text(item)).collect()
        });
        let mut all = Vec::new();
        for rule in rules {
            if rule.excludes_job() || rule.needs.is_some() {
                all.push(rule);
                continue;
            }
            for cell in expression::cells(variants) {
                let of_variant = needs.iter().map(|need| need.of_variant(&cell));
                let of_variant: Vec<Need> =
                    of_variant.filter(|need| !need.is_without_variants(self.file)).collect();
                let is_source = |need: &&Need| {
                    need.has_artifacts() && named.as_ref().is_none_or(|names| names.contains(&need.job()))
                };
                let sources: Vec<Need> = of_variant.iter().filter(is_source).cloned().collect();
                let condition = rule.condition.clone().unwrap_or_else(|| CelExpr::constant(true));
                let dependencies: Option<Value> =
                    (sources.len() < of_variant.len()).then(|| list(sources, false));
                all.push(Rule {
                    condition: Some(condition.and(is_variant(&cell))),
                    needs: Some(list(of_variant, true)),
                    dependencies,
                    ..rule.clone()
                });
            }
        }
        all
    }
}
