//! How large a plan would be, reckoned before it is made.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::{matrix::count, references::builtin};
use crate::execution::facts::Facts;
use crate::pipeline::{Cache, Health, Job, Pipeline, Service};

/// The most bytes that a plan's texts may come to. Each variant of a matrix has the variables, the script and the names of its
/// needs for its own, so that a file of a few hundred bytes could else ask for gigabytes.
pub const MAX_PLAN_BYTES: u64 = 64 << 20;

/// What the texts of `pipeline`'s plan come to, at most, reckoned without making it.
pub(crate) fn expanded_bytes(pipeline: &Pipeline, facts: &Facts) -> u64 {
    /// What a text, and what a job, costs beside its bytes.
    const TEXT_OVERHEAD: u64 = 32;
    const JOB_OVERHEAD: u64 = 512;
    let overrides = &facts.variables;
    let sum = |texts: &mut dyn Iterator<Item = u64>| texts.fold(0, u64::saturating_add);
    let text = |text: &String| text.len() as u64 + TEXT_OVERHEAD;
    let pairs = |pairs: &IndexMap<String, String>| {
        sum(&mut pairs.iter().map(|(key, value)| text(key).saturating_add(text(value))))
    };
    // Of a matrix, each variant has one value of each key: in its variables and in its name.
    let chosen = |job: &Job| {
        sum(&mut job
            .matrix
            .iter()
            .map(|(key, values)| text(key).saturating_add(values.iter().map(text).max().unwrap_or(0))))
    };
    let name = |job: &Job| text(&job.name).saturating_add(chosen(job));
    let named: HashMap<&str, u64> = pipeline
        .jobs
        .iter()
        .map(|job| (job.name.as_str(), name(job).saturating_mul(count(&job.matrix) as u64)))
        .collect();
    let shared = pairs(&pipeline.variables).saturating_add(pairs(overrides));
    sum(&mut pipeline.jobs.iter().map(|job| {
        let artifacts = job.artifacts.iter().flat_map(|artifacts| &artifacts.paths);
        let put_in =
            |template: &str| references(template, pipeline, job, facts).saturating_add(TEXT_OVERHEAD);
        let around = &job.surroundings;
        let service = |service: &Service| {
            let words = service.command.iter().chain(&service.entrypoint).flatten().chain(&service.alias);
            let health = match &service.health {
                Some(Health::Command(command)) => text(command),
                Some(Health::Port(_)) | None => 0,
            };
            let own = [put_in(&service.image), pairs(&service.variables), sum(&mut words.map(text)), health];
            sum(&mut own.into_iter())
        };
        let cache = |cache: &Cache| {
            let plain = cache.key_files.iter().chain(&cache.paths).map(text);
            let keys = cache.fallback_keys.iter().chain([&cache.key]).map(|key| put_in(key));
            sum(&mut plain.chain(keys))
        };
        let environment = around.environment.iter().flat_map(|to| to.url.iter().chain([&to.name]));
        let mut labels = job.runs_on.iter().map(|(name, value)| text(name).saturating_add(text(value)));
        let mut secrets =
            around.secrets.iter().map(|one| text(&one.name).saturating_add(text(&one.variable)));
        let reports = job.artifacts.iter().flat_map(|artifacts| &artifacts.reports.junit);
        let each = [
            JOB_OVERHEAD,
            sum(&mut job.rules.iter().map(|rule| pairs(&rule.variables))),
            sum(&mut around.after_script.iter().chain(reports).chain(&around.coverage).map(text)),
            sum(&mut around.services.iter().map(service)),
            sum(&mut around.caches.iter().map(cache)),
            sum(&mut environment.map(|text| put_in(text))),
            sum(&mut labels),
            sum(&mut secrets),
            shared,
            pairs(&job.variables),
            name(job).saturating_mul(2),
            put_in(&job.image),
            sum(&mut job.script.iter().map(text)),
            sum(&mut artifacts.map(text)),
            sum(&mut job.needs.iter().flatten().filter_map(|need| named.get(need.as_str()).copied())),
            sum(&mut job.dependencies.iter().flatten().filter_map(|name| named.get(name.as_str()).copied())),
        ];
        sum(&mut each.into_iter()).saturating_mul(count(&job.matrix) as u64)
    }))
}

/// What `template` comes to, at most, once its references are replaced.
fn references(template: &str, pipeline: &Pipeline, job: &Job, facts: &Facts) -> u64 {
    let longest = |name: &str| {
        let rules = job.rules.iter().map(|rule| &rule.variables);
        let given = [&pipeline.variables, &job.variables, &facts.variables].into_iter().chain(rules);
        let given = given.filter_map(|known| known.get(name)).map(String::len);
        let chosen = job.matrix.get(name).into_iter().flatten().map(String::len);
        let word = builtin(name, &pipeline.name, &job.name, facts).map(str::len);
        // A job's name is longer by its matrix values.
        let variant = if name == "job" { variant_bytes(job) } else { 0 };
        given.chain(chosen).chain(word).max().unwrap_or(0) as u64 + variant
    };
    let names = template.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    names.map(longest).fold(template.len() as u64, u64::saturating_add)
}

/// How much longer, at most, a variant's name is than its job's.
fn variant_bytes(job: &Job) -> u64 {
    let longest = |values: &Vec<String>| values.iter().map(String::len).max().unwrap_or(0);
    job.matrix.iter().map(|(key, values)| (key.len() + longest(values) + 3) as u64).sum()
}
