//! Topological order of a pipeline's jobs.

use std::collections::HashMap;

use super::error::PlanError;
use super::selection::{SelectedVariant, needs_of};
use crate::pipeline::Pipeline;

/// Returns the positions of jobs in the file, ordered so that each job comes after its needs; among the possible
/// orders, the one closest to stage order, then file order.
pub(super) fn order(
    pipeline: &Pipeline,
    variants: &[Vec<SelectedVariant>],
    stage_of: &HashMap<&str, usize>,
) -> Result<Vec<usize>, PlanError> {
    let by_name: HashMap<&str, usize> =
        pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
    let mut missing = vec![0_usize; pipeline.jobs.len()];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); pipeline.jobs.len()];
    let mut stages = Vec::with_capacity(pipeline.jobs.len());
    for (ix, job) in pipeline.jobs.iter().enumerate() {
        let stage = stage_of
            .get(job.stage.as_str())
            .ok_or_else(|| PlanError::UnknownStage { job: job.name.clone(), stage: job.stage.clone() })?;
        stages.push(*stage);
        for need in needs_of(job, &variants[ix]).into_iter().flatten().flatten() {
            let need_ix = by_name
                .get(need.job.as_str())
                .ok_or_else(|| PlanError::UnknownNeed { job: job.name.clone(), need: need.job.clone() })?;
            if stage_of.get(pipeline.jobs[*need_ix].stage.as_str()).is_some_and(|later| later > stage) {
                return Err(PlanError::NeedInLaterStage { job: job.name.clone(), need: need.job.clone() });
            }
            missing[ix] += 1;
            dependents[*need_ix].push(ix);
        }
    }
    let mut ready: std::collections::BTreeSet<(usize, usize)> =
        (0..missing.len()).filter(|ix| missing[*ix] == 0).map(|ix| (stages[ix], ix)).collect();
    let mut sorted = Vec::with_capacity(missing.len());
    while let Some((_, ix)) = ready.pop_first() {
        sorted.push(ix);
        for &next in &dependents[ix] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.insert((stages[next], next));
            }
        }
    }
    if sorted.len() == missing.len() {
        Ok(sorted)
    } else {
        Err(PlanError::Cycle(cycle(pipeline, variants, &by_name, &missing)))
    }
}

/// Returns one cycle among the jobs with missing needs; its first job is repeated at the end.
fn cycle(
    pipeline: &Pipeline,
    variants: &[Vec<SelectedVariant>],
    by_name: &HashMap<&str, usize>,
    missing: &[usize],
) -> Vec<String> {
    let mut current = missing.iter().position(|count| *count > 0).unwrap_or(0);
    let mut visited_at: HashMap<usize, usize> = HashMap::new();
    let mut path = Vec::new();
    loop {
        if let Some(start) = visited_at.get(&current) {
            // Needs were followed backwards; read forwards, the cycle leads from need to dependent.
            let mut names: Vec<String> = path[*start..].to_vec();
            names.push(pipeline.jobs[current].name.clone());
            return names;
        }
        visited_at.insert(current, path.len());
        path.push(pipeline.jobs[current].name.clone());
        let needs = needs_of(&pipeline.jobs[current], &variants[current]);
        let needs = needs.into_iter().flatten().flatten().filter_map(|need| by_name.get(need.job.as_str()));
        match needs.copied().find(|ix| missing[*ix] > 0) {
            Some(next) => current = next,
            None => return path,
        }
    }
}
