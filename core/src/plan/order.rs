//! The order in which jobs could run one by one.

use std::collections::HashMap;

use super::error::PlanError;
use crate::pipeline::Pipeline;

/// Places in the file, ordered so that each job comes after its needs; among the possible orders the one nearest to
/// stage order, then file order.
pub(super) fn order(pipeline: &Pipeline, stage_of: &HashMap<&str, usize>) -> Result<Vec<usize>, PlanError> {
    let by_name: HashMap<&str, usize> =
        pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
    let mut missing = vec![0_usize; pipeline.jobs.len()];
    let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); pipeline.jobs.len()];
    let mut stages = Vec::with_capacity(pipeline.jobs.len());
    for (ix, job) in pipeline.jobs.iter().enumerate() {
        let stage = stage_of
            .get(job.stage.as_str())
            .ok_or_else(|| PlanError::UnknownStage { job: job.name.clone(), stage: job.stage.clone() })?;
        stages.push(*stage);
        for need in job.needs.iter().flatten() {
            let need_ix = by_name
                .get(need.as_str())
                .ok_or_else(|| PlanError::UnknownNeed { job: job.name.clone(), need: need.clone() })?;
            if stage_of.get(pipeline.jobs[*need_ix].stage.as_str()).is_some_and(|later| later > stage) {
                return Err(PlanError::LaterStage { job: job.name.clone(), need: need.clone() });
            }
            missing[ix] += 1;
            dependants[*need_ix].push(ix);
        }
    }
    let mut ready: std::collections::BTreeSet<(usize, usize)> =
        (0..missing.len()).filter(|ix| missing[*ix] == 0).map(|ix| (stages[ix], ix)).collect();
    let mut done = Vec::with_capacity(missing.len());
    while let Some((_, ix)) = ready.pop_first() {
        done.push(ix);
        for &next in &dependants[ix] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.insert((stages[next], next));
            }
        }
    }
    if done.len() == missing.len() {
        Ok(done)
    } else {
        Err(PlanError::Cycle(cycle(pipeline, &by_name, &missing)))
    }
}

/// One whole cycle among the jobs that still miss something, its first job again at the end.
fn cycle(pipeline: &Pipeline, by_name: &HashMap<&str, usize>, missing: &[usize]) -> Vec<String> {
    let mut at = missing.iter().position(|count| *count > 0).unwrap_or(0);
    let mut seen_at: HashMap<usize, usize> = HashMap::new();
    let mut path = Vec::new();
    loop {
        if let Some(start) = seen_at.get(&at) {
            // Needs were followed backwards; read forwards the cycle runs from need to dependant.
            let mut names: Vec<String> = path[*start..].to_vec();
            names.push(pipeline.jobs[at].name.clone());
            return names;
        }
        seen_at.insert(at, path.len());
        path.push(pipeline.jobs[at].name.clone());
        let stuck = pipeline.jobs[at].needs.iter().flatten().filter_map(|need| by_name.get(need.as_str()));
        match stuck.copied().find(|ix| missing[*ix] > 0) {
            Some(next) => at = next,
            None => return path,
        }
    }
}
