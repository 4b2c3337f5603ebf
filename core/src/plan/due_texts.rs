//! Texts of a job that are complete only when it is due, because they refer to outputs of other jobs, or to its own id.

use crate::execution::outputs;
use crate::pipeline::{Job, JobOptions};
use serde::{Deserialize, Serialize};

/// The texts of a planned job with references to variables that outputs may set; the other references are substituted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueTexts {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The images of the services; empty if none refers to a variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// The address of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl DueTexts {
    /// Whether the job has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a text of `job` refers to a variable that jobs have when they are due, whatever the outputs of other jobs.
    pub(super) fn has_due_variables(job: &Job) -> bool {
        let JobOptions { services, environment, .. } = &job.surroundings;
        let url = environment.as_ref().and_then(|environment| environment.url.as_ref());
        let texts = services.iter().map(|service| &service.image).chain([&job.image]).chain(url);
        let mut names =
            texts.flat_map(|text| text.split("${").skip(1)).filter_map(|rest| rest.split_once('}'));
        names.any(|(name, _)| outputs::is_due_reference(name))
    }

    /// Returns those texts of `job` that refer to variables. `expand` substitutes what outputs cannot set.
    pub(super) fn of(job: &Job, expand: impl Fn(&str) -> String) -> Self {
        let due = |text: &str| Some(expand(text)).filter(|text| text.contains("${"));
        let JobOptions { services, environment, .. } = &job.surroundings;
        let services: Vec<String> = services.iter().map(|service| expand(&service.image)).collect();
        let url = environment.as_ref().and_then(|environment| environment.url.as_deref());
        Self {
            image: due(&job.image),
            services: if services.iter().any(|image| image.contains("${")) { services } else { Vec::new() },
            url: url.and_then(due),
        }
    }
}
