//! Starting a pipeline of a registered repository at the head of a branch.

use super::inputs::InputValue;
use crate::execution::discovery::MAX_PATH_LEN;
use crate::repository::webhook::{RefNameError, check_ref_name};
use crate::text::is_control;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of given inputs.
const MAX_INPUTS: usize = 100;
/// Maximum size of the names and values of all inputs together, in bytes.
const MAX_INPUT_BYTES: usize = 64 << 10;

/// Starts a pipeline of a registered repository at the head of a branch, by its file, whatever its triggers are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunPipelineRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// The path of the pipeline file.
    pub path: String,
    /// The branch; absent: the default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The values of the pipeline's inputs; those without one have their default.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, InputValue>,
}

/// A request is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunPipelineError {
    /// The path is not one of a repository.
    #[error(
        "`path` must be relative to the repository, without control characters, and have at most {MAX_PATH_LEN} bytes"
    )]
    Path,
    /// The branch is no valid name.
    #[error(transparent)]
    Branch(RefNameError),
    /// Too many inputs, or too large ones.
    #[error("there are at most {MAX_INPUTS} inputs, with at most {MAX_INPUT_BYTES} bytes together")]
    Inputs,
}

impl RunPipelineRequest {
    /// Checks path, branch and size.
    pub fn check(&self) -> Result<(), RunPipelineError> {
        let path = &self.path;
        if path.is_empty() || path.len() > MAX_PATH_LEN || path.starts_with('/') || path.contains(is_control)
        {
            return Err(RunPipelineError::Path);
        }
        if let Some(branch) = &self.branch {
            check_ref_name(branch).map_err(RunPipelineError::Branch)?;
        }
        let sizes = self.inputs.iter().map(|(name, value)| name.len() + value.to_text().len());
        if self.inputs.len() > MAX_INPUTS || sizes.sum::<usize>() > MAX_INPUT_BYTES {
            return Err(RunPipelineError::Inputs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::inputs::InputValue, RunPipelineError, RunPipelineRequest};

    #[test]
    fn paths_branches_and_sizes_are_checked() {
        let request = |path: &str, branch: Option<&str>| RunPipelineRequest {
            repo: "r".to_owned(),
            path: path.to_owned(),
            branch: branch.map(str::to_owned),
            ..RunPipelineRequest::default()
        };
        assert_eq!(request(".pipelines/ci.yml", Some("feature/a")).check(), Ok(()));
        assert_eq!(request(".gitlab-ci.yml", None).check(), Ok(()));
        for path in ["", "/etc/passwd", "a\nb", &"x".repeat(5_000)] {
            assert_eq!(request(path, None).check(), Err(RunPipelineError::Path), "{path}");
        }
        for branch in ["", "-x", "a..b", "a b", "a\0"] {
            let result = request("a.yml", Some(branch)).check();
            assert!(matches!(result, Err(RunPipelineError::Branch(_))), "{branch}: {result:?}");
        }
        let mut many = request("a.yml", None);
        many.inputs = (0..101).map(|number| (number.to_string(), InputValue::Boolean(true))).collect();
        assert_eq!(many.check(), Err(RunPipelineError::Inputs));
        many.inputs = [("a".to_owned(), InputValue::Text("x".repeat(70_000)))].into();
        assert_eq!(many.check(), Err(RunPipelineError::Inputs));
    }
}
