//! Files that are stored after a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum length in bytes of the name and the title of artifacts.
pub const MAX_ARTIFACT_LABEL_LEN: usize = 255;

/// Files that are stored after a job, for later jobs and for download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifacts {
    /// Globs relative to the sources; never absolute, never climbing out.
    pub paths: Vec<String>,
    /// Globs of files that are not stored although they match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Whether all files that are not part of the sources are stored, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untracked: bool,
    /// The name to show. May hold `${NAME}` references, also to variables that only a job has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A title under which they are shown with the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_as: Option<String>,
    /// After which outcomes of the job they are stored.
    #[serde(default)]
    pub when: ArtifactsWhen,
    /// How long they are kept, in seconds. `None`: as long as the server keeps the execution.
    #[serde(default)]
    pub expire_in_s: Option<u64>,
    /// Reports that are parsed.
    #[serde(default, skip_serializing_if = "Reports::is_empty")]
    pub reports: Reports,
}

impl Artifacts {
    /// Whether files are stored, and not only reports read.
    #[must_use]
    pub fn stores_files(&self) -> bool {
        !self.paths.is_empty() || self.untracked
    }
}

/// After which outcomes of a job its artifacts are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactsWhen {
    /// Only when the job succeeds.
    #[default]
    OnSuccess,
    /// Only when the job fails.
    OnFailure,
    /// Whatever the outcome.
    Always,
}

/// Reports of a job, which the worker parses after the script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    /// Globs of JUnit XML files.
    #[serde(default)]
    pub junit: Vec<String>,
    /// Globs of coverage reports of Cobertura or JaCoCo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<String>,
    /// Globs of SARIF files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sarif: Vec<String>,
    /// Globs of files with issues of Code Climate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codequality: Vec<String>,
    /// Globs of security reports of GitLab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sast: Vec<String>,
}

impl Reports {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Returns all globs.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.junit.iter().chain(&self.coverage).chain(self.findings())
    }

    /// Returns the globs of reports whose findings are annotations. The content of a file shows its format.
    pub fn findings(&self) -> impl Iterator<Item = &String> {
        self.sarif.iter().chain(&self.codequality).chain(&self.sast)
    }
}
