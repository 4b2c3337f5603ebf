//! Computes an upper bound of a plan's size before it is created.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::{
    due_texts::DueTexts,
    matrix::{self, max_variants},
    references::builtin,
};
use crate::execution::{facts::Facts, predefined};
use crate::pipeline::{Cache, Health, Job, Need, Pipeline, Service};

/// Maximum total size in bytes of a plan's texts. Each variant of a matrix has its own copy of the variables, the
/// script and the names of its needs, so that without a limit, a file of a few hundred bytes could expand to gigabytes.
pub const MAX_PLAN_BYTES: u64 = 64 << 20;

/// What conditions on outputs add to one variant of a job at most, in bytes: they are kept parsed.
const MAX_CONDITION_BYTES: u64 = 32 << 10;

/// Maximum length in bytes of a name that is made by a template.
const MAX_NAME_BYTES: u64 = (matrix::MAX_NAME_BYTES + matrix::MAX_TEMPLATE_BYTES) as u64;

/// Returns an upper bound of the size in bytes of the texts of `pipeline`'s plan, without creating it.
pub(crate) fn expanded_bytes(pipeline: &Pipeline, facts: &Facts) -> u64 {
    /// Overhead of a text, and of a job, in addition to its bytes.
    const TEXT_OVERHEAD: u64 = 32;
    const JOB_OVERHEAD: u64 = 512;
    /// The variables of a variant about its position.
    const NODE_BYTES: u64 = 2 * (32 + TEXT_OVERHEAD);
    /// The host names that an image gives to a service.
    const MAX_IMAGE_NAMES_BYTES: u64 = 5 * (64 + TEXT_OVERHEAD);
    let overrides = &facts.variables;
    let sum = |texts: &mut dyn Iterator<Item = u64>| texts.fold(0, u64::saturating_add);
    let text = |text: &String| text.len() as u64 + TEXT_OVERHEAD;
    let pairs = |pairs: &IndexMap<String, String>| {
        sum(&mut pairs.iter().map(|(key, value)| text(key).saturating_add(text(value))))
    };
    // Each variant has one value of each matrix key, in its variables and in its name.
    let matrix_bytes = |job: &Job| {
        sum(&mut job.matrix.keys().map(|key| {
            let longest = job.matrix.values(key).map(str::len).max().unwrap_or(0) as u64;
            (key.len() as u64 + longest).saturating_add(2 * TEXT_OVERHEAD)
        }))
        .saturating_add(if job.variant_name.is_some() { MAX_NAME_BYTES } else { 0 })
    };
    let name = |job: &Job| text(&job.name).saturating_add(matrix_bytes(job));
    let named: HashMap<&str, u64> = pipeline
        .jobs
        .iter()
        .map(|job| (job.name.as_str(), name(job).saturating_mul(max_variants(job) as u64)))
        .collect();
    let names_of = |needs: &Option<Vec<Need>>| {
        let known = needs.iter().flatten().filter_map(|need| named.get(need.job.as_str()).copied());
        known.fold(0, u64::saturating_add)
    };
    let shared = pairs(&pipeline.variables).saturating_add(pairs(overrides));
    let predefined = predefined::execution_variables(facts, &pipeline.name);
    let has_outputs = pipeline.jobs.iter().any(|job| job.surroundings.provides_outputs());
    sum(&mut pipeline.jobs.iter().map(|job| {
        let artifacts = job.artifacts.iter().flat_map(|artifacts| &artifacts.paths);
        let expanded = |template: &str| {
            references(template, pipeline, job, (facts, &predefined)).saturating_add(TEXT_OVERHEAD)
        };
        let options = &job.surroundings;
        let service = |service: &Service| {
            let texts = service.command.iter().chain(&service.entrypoint).flatten().chain(&service.alias);
            let health = match &service.health {
                Some(Health::Command(command)) => text(command),
                Some(Health::Port(_)) | None => 0,
            };
            let parts = [
                expanded(&service.image),
                MAX_IMAGE_NAMES_BYTES,
                pairs(&service.variables),
                sum(&mut texts.map(text)),
                sum(&mut service.container.texts().map(text)),
                health,
            ];
            sum(&mut parts.into_iter())
        };
        let cache = |cache: &Cache| {
            let fixed = cache.key_files.iter().chain(&cache.paths).map(text);
            let keys = cache.fallback_keys.iter().chain([&cache.key]).map(|key| expanded(key));
            sum(&mut fixed.chain(keys))
        };
        let environment = options.environment.iter().flat_map(|to| to.url.iter().chain([&to.name]));
        let mut labels =
            job.runs_on.iter().map(|(name, value)| expanded(name).saturating_add(expanded(value)));
        let mut secrets =
            options.secrets.iter().map(|one| text(&one.name).saturating_add(text(&one.variable)));
        let reports = job.artifacts.iter().flat_map(|artifacts| {
            let labels = artifacts.name.iter().chain(&artifacts.expose_as);
            let globs = artifacts.reports.all();
            globs.chain(&artifacts.exclude).chain(labels)
        });
        // The texts that may refer to outputs are kept a second time.
        let due = if has_outputs || DueTexts::has_due_variables(job) {
            let url = options.environment.iter().filter_map(|to| to.url.as_ref());
            let images = options.services.iter().map(|service| &service.image).chain([&job.image]);
            sum(&mut images.chain(url).map(|text| expanded(text)))
        } else {
            0
        };
        let conditions = job.rules.iter().filter_map(|rule| rule.condition.as_ref());
        let has_open = conditions.into_iter().any(|text| text.contains("needs"));
        let parts = [
            JOB_OVERHEAD,
            if has_open { MAX_CONDITION_BYTES } else { 0 },
            NODE_BYTES,
            due,
            sum(&mut job.rules.iter().map(|rule| pairs(&rule.variables))),
            sum(&mut options
                .after_script
                .iter()
                .chain(reports)
                .chain(&options.coverage)
                .chain(&options.outputs)
                .map(text)),
            sum(&mut options.services.iter().map(service)),
            sum(&mut options.build.iter().flat_map(|build| build.fixed_texts()).map(text)),
            sum(&mut options.build.iter().flat_map(|build| build.templates()).map(|text| expanded(text))),
            sum(&mut options.child.iter().flat_map(|child| child.fixed_texts()).map(text)),
            sum(&mut options
                .child
                .iter()
                .flat_map(|child| child.templates().chain(child.late_templates()))
                .map(|text| expanded(text))),
            sum(&mut options.container.texts().map(text)),
            sum(&mut options.caches.iter().map(cache)),
            sum(&mut environment.map(|text| expanded(text))),
            sum(&mut options.concurrency.iter().map(|one| expanded(&one.group).saturating_mul(2))),
            sum(&mut options.id_tokens.iter().map(|token| {
                let aud = token.aud.iter().map(|text| expanded(text));
                aud.fold(text(&token.variable), u64::saturating_add)
            })),
            sum(&mut labels),
            sum(&mut secrets),
            shared,
            pairs(&job.variables),
            job.rules
                .iter()
                .map(|rule| {
                    sum(&mut rule
                        .variables
                        .iter()
                        .map(|(key, value)| text(key).saturating_add(expanded(value))))
                })
                .max()
                .unwrap_or(0),
            name(job).saturating_mul(2),
            expanded(&job.image),
            sum(&mut job.image_options.entrypoint.iter().flatten().map(text)),
            sum(&mut job
                .image_options
                .user
                .iter()
                .chain(&job.image_options.platform)
                .map(|text| expanded(text))),
            sum(&mut job.script.iter().map(text)),
            sum(&mut artifacts.map(text)),
            names_of(&job.needs).saturating_add(names_of(&job.dependencies)),
            // Each variant has its own copy of the needs of the rule that matches.
            job.rules
                .iter()
                .map(|rule| names_of(&rule.needs).saturating_add(names_of(&rule.dependencies)))
                .max()
                .unwrap_or(0)
                .saturating_mul(2),
        ];
        sum(&mut parts.into_iter()).saturating_mul(max_variants(job) as u64)
    }))
}

/// Returns an upper bound of the length of `template` with its references substituted.
fn references(
    template: &str,
    pipeline: &Pipeline,
    job: &Job,
    (facts, predefined): (&Facts, &IndexMap<String, String>),
) -> u64 {
    let longest = |name: &str| {
        let rules = job.rules.iter().map(|rule| &rule.variables);
        let lengths =
            [&pipeline.variables, &job.variables, &facts.variables, predefined].into_iter().chain(rules);
        let lengths = lengths.filter_map(|known| known.get(name)).map(String::len);
        let matrix_bytes = job.matrix.values(name).map(str::len);
        let builtin_len = builtin(name, &pipeline.name, &job.name, facts).map(str::len);
        lengths.chain(matrix_bytes).chain(builtin_len).max().unwrap_or(0) as u64
    };
    let of_names = |template: &str, longest: &dyn Fn(&str) -> u64| {
        let names =
            template.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
        names.map(longest).fold(template.len() as u64, u64::saturating_add)
    };
    // A job's name is longer by its matrix values.
    let name_bytes = job.name.len() as u64 + variant_bytes(job);
    let with_name = |name: &str| match name {
        "job" | "CI_JOB_NAME" | "CI_JOB_NAME_SLUG" => longest(name).max(name_bytes),
        "CI_JOB_STAGE" => longest(name).max(job.stage.len() as u64),
        "CI_NODE_INDEX" | "CI_NODE_TOTAL" => longest(name).max(20),
        _ => longest(name),
    };
    let environment = job.surroundings.environment.as_ref();
    let environment_bytes = || environment.map_or(0, |to| of_names(&to.name, &with_name));
    of_names(template, &|name| match name {
        "CI_ENVIRONMENT_NAME" => with_name(name).max(environment_bytes()),
        "CI_ENVIRONMENT_SLUG" | "CI_ENVIRONMENT_TIER" | "CI_ENVIRONMENT_ACTION" => with_name(name).max(24),
        _ => with_name(name),
    })
}

/// Returns the maximum number of bytes that matrix values add to a job's name.
fn variant_bytes(job: &Job) -> u64 {
    let longest = |key: &str| job.matrix.values(key).map(str::len).max().unwrap_or(0);
    let keys = job.matrix.keys().map(|key| (key.len() + longest(key) + 3) as u64).sum::<u64>();
    let template = if job.variant_name.is_some() { MAX_NAME_BYTES } else { 0 };
    let parallel = if job.parallel.is_some() { 16 } else { 0 };
    keys.max(template) + parallel
}
