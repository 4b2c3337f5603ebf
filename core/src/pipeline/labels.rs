//! Labels of workers, and the labels that jobs require.

use std::{collections::BTreeMap, fmt::Write as _};

pub use crate::pipeline::is_label;
use crate::pipeline::names::LABEL_RULE;

/// Labels by name: those of a worker, or those that a job requires.
pub type Labels = BTreeMap<String, String>;

/// The label that says how a worker runs jobs, and how a job asks to be run.
pub const EXECUTOR_LABEL: &str = "executor";
/// The value of [`EXECUTOR_LABEL`] of workers that run jobs as plain processes.
pub const PROCESS_EXECUTOR: &str = "process";

/// Whether a worker with the labels `has` may run a job that requires `demands`. A job without required labels runs anywhere, except
/// on a worker that runs jobs as plain processes: a job must ask for it.
#[must_use]
pub fn matches(demands: &Labels, has: &Labels) -> bool {
    demands.iter().all(|(name, value)| has.get(name) == Some(value))
        && (asks_for_process(demands) || !asks_for_process(has))
}

/// Whether the labels are those of a worker that runs jobs as plain processes, or of a job that asks for one.
#[must_use]
pub fn asks_for_process(labels: &Labels) -> bool {
    labels.get(EXECUTOR_LABEL).is_some_and(|value| value == PROCESS_EXECUTOR)
}

/// Returns the labels that a job requires and no worker has, or all of them if no worker has them together; none if a worker may run
/// it.
#[must_use]
pub fn unserved<'a>(demands: &Labels, workers: impl IntoIterator<Item = &'a Labels>) -> Labels {
    let mut missing = demands.clone();
    for has in workers {
        if matches(demands, has) {
            return Labels::new();
        }
        missing.retain(|name, value| has.get(name) != Some(value));
    }
    if missing.is_empty() { demands.clone() } else { missing }
}

/// Returns the labels of the queue to which a job goes that requires `demands`: the one with exactly these labels, or else the one with
/// the fewest others, and of those the first by name. A job goes to no queue that lacks one of its labels.
pub fn route<'a>(demands: &Labels, queues: impl IntoIterator<Item = &'a Labels>) -> Option<&'a Labels> {
    let fitting = queues.into_iter().filter(|labels| matches(demands, labels));
    fitting.min_by_key(|labels| (labels.len(), queue_name(labels)))
}

/// The name of the queue for jobs that require these labels, such as `arch=arm64,gpu=true`.
#[must_use]
pub fn queue_name(demands: &Labels) -> String {
    let mut name = String::new();
    for (label, value) in demands {
        let comma = if name.is_empty() { "" } else { "," };
        let _ = write!(name, "{comma}{label}={value}");
    }
    name
}

/// Why a text is not the name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A part has no `=`.
    #[error("`{0}` is not a label; write `name=value`")]
    NoValue(String),
    /// A name or value has other characters, or too many.
    #[error("`{0}` is not a valid name or value of a label; {LABEL_RULE}")]
    Text(String),
}

/// Parses the labels of a queue's name.
///
/// # Errors
/// The text is not such a name.
pub fn parse(text: &str) -> Result<Labels, LabelsError> {
    let mut labels = Labels::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| LabelsError::NoValue(part.to_owned()))?;
        for one in [name, value] {
            if !is_label(one) {
                return Err(LabelsError::Text(one.to_owned()));
            }
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Labels, matches, parse, queue_name, route, unserved};

    #[test]
    fn worker_needs_every_runs_on_label() {
        let of = |text| parse(text).unwrap();
        let worker = of("arch=arm64,gpu=true,os=linux");
        for (demands, may) in [
            ("", true),
            ("gpu=true", true),
            ("os=linux,arch=arm64", true),
            ("gpu=false", false),
            ("gpu=true,x=y", false),
        ] {
            assert_eq!(matches(&of(demands), &worker), may, "{demands}");
        }
        assert!(matches(&of(""), &of("")) && !matches(&of("a=b"), &of("")));
    }

    #[test]
    fn worker_with_plain_processes_takes_only_jobs_that_ask_for_it() {
        let of = |text| parse(text).unwrap();
        let worker = of("executor=process,os=macos");
        for (demands, may) in [
            ("", false),
            ("os=macos", false),
            ("executor=process", true),
            ("executor=process,os=macos", true),
        ] {
            assert_eq!(matches(&of(demands), &worker), may, "{demands}");
        }
        assert!(!matches(&of("executor=process"), &of("os=macos")), "a worker with an engine never gets it");
    }

    #[test]
    fn labels_that_no_worker_has_are_named() {
        let workers = ["arch=arm64", "gpu=true", "executor=process"].map(|labels| parse(labels).unwrap());
        for (demands, missing) in [
            ("gpu=true", ""),
            ("gpu=true,os=linux", "os=linux"),
            ("gpu=false,os=linux", "gpu=false,os=linux"),
            ("arch=arm64,gpu=true", "arch=arm64,gpu=true"),
            ("executor=process", ""),
        ] {
            assert_eq!(queue_name(&unserved(&parse(demands).unwrap(), &workers)), missing, "{demands}");
        }
        assert_eq!(queue_name(&unserved(&parse("a=b").unwrap(), [])), "a=b");
    }

    #[test]
    fn job_goes_to_the_queue_with_its_labels_and_the_fewest_others() {
        let queues = ["arch=x86_64", "gpu=true", "gpu=true,size=large", "arch=arm64,gpu=true", "size=large"]
            .map(|labels| parse(labels).unwrap());
        for (demands, queue) in [
            ("gpu=true", Some("gpu=true")),
            ("size=large,gpu=true", Some("gpu=true,size=large")),
            ("arch=arm64", Some("arch=arm64,gpu=true")),
            ("arch=x86_64,gpu=true", None),
            ("gpu=false", None),
            ("os=linux", None),
        ] {
            let of = parse(demands).unwrap();
            assert_eq!(route(&of, &queues).map(queue_name).as_deref(), queue, "{demands}");
        }
        let none: [Labels; 0] = [];
        assert_eq!(route(&Labels::new(), &none), None);
        let with_default = [Labels::new(), parse("a=b").unwrap()];
        assert_eq!(route(&Labels::new(), &with_default), Some(&with_default[0]));
    }

    #[test]
    fn label_set_name_ignores_order() {
        assert_eq!(queue_name(&parse("gpu=true,arch=arm64").unwrap()), "arch=arm64,gpu=true");
        assert_eq!(queue_name(&parse("").unwrap()), "");
        assert!(parse("gpu").is_err() && parse("a=b=c").is_err() && parse("=1").is_err());
    }
}
