//! Settings of a worker's sources: limits and retention.

use super::{bounds::Limits, prune::Retention};
use std::{path::PathBuf, time::Duration};
use tidemill_core::pipeline::{bytes, span_s};

/// Settings of a worker's sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// Limits of each operation.
    pub limits: Limits,
    /// Retention of cached sources.
    pub retention: Retention,
    /// The operator's directory of templates, for `include: template` of GitLab files.
    pub templates: Option<PathBuf>,
}

impl SourceSettings {
    /// Environment variables that override the defaults, with their descriptions.
    pub const VARIABLES: [(&'static str, &'static str); 9] = [
        ("TIDEMILL_GIT_SILENCE", "how long a git server may send almost nothing"),
        ("TIDEMILL_GIT_TIMEOUT", "maximum duration of one git operation"),
        ("TIDEMILL_GIT_MAX_SIZE", "maximum size of a repository's mirror"),
        ("TIDEMILL_CHECKOUT_MAX_SIZE", "maximum total size of the files of one checkout"),
        ("TIDEMILL_CHECKOUT_MAX_FILES", "maximum number of files in one checkout"),
        ("TIDEMILL_SOURCES_MAX_TREES", "maximum number of checkouts kept"),
        ("TIDEMILL_SOURCES_MAX_AGE", "how long unused checkouts and uploads are kept"),
        ("TIDEMILL_SOURCES_MAX_SIZE", "maximum total size of checkouts, uploads and mirrors kept"),
        ("TIDEMILL_SOURCES_MIN_FREE", "minimum free disk space; below it, unused sources are removed"),
    ];

    /// Reads the settings from `value`, which returns the value of a variable of [`Self::VARIABLES`]. An error names
    /// the invalid variable.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut settings = Self::default();
        let Self { limits, retention, .. } = &mut settings;
        for (name, _) in Self::VARIABLES {
            let Some(text) = value(name).filter(|text| !text.is_empty()) else { continue };
            let invalid = |error: String| format!("{name}: {error}");
            let time = || span_s(&text).map(Duration::from_secs).map_err(invalid);
            let size = || bytes(&text).map_err(invalid);
            let count = || text.parse::<u32>().map_err(|error| invalid(format!("`{text}`: {error}")));
            match name {
                "TIDEMILL_GIT_SILENCE" => limits.silence = time()?,
                "TIDEMILL_GIT_TIMEOUT" => limits.operation = time()?,
                "TIDEMILL_GIT_MAX_SIZE" => limits.repository_bytes = size()?,
                "TIDEMILL_CHECKOUT_MAX_SIZE" => limits.checkout_bytes = size()?,
                "TIDEMILL_CHECKOUT_MAX_FILES" => limits.checkout_files = count()?.into(),
                "TIDEMILL_SOURCES_MAX_TREES" => retention.trees = count()? as usize,
                "TIDEMILL_SOURCES_MAX_AGE" => retention.age = time()?,
                "TIDEMILL_SOURCES_MAX_SIZE" => retention.bytes = size()?,
                _ => retention.free_bytes = size()?,
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::SourceSettings;
    use std::time::Duration;

    #[test]
    fn every_variable_has_an_effect_and_wrong_values_are_errors() {
        for (name, _) in SourceSettings::VARIABLES {
            let parse = |text: &'static str| {
                SourceSettings::from_variables(|requested| (requested == name).then(|| text.to_owned()))
            };
            let set = ["7s", "7MiB", "7"].into_iter().filter_map(|text| parse(text).ok());
            assert!(set.into_iter().any(|settings| settings != SourceSettings::default()), "{name}");
            assert!(parse("seven").unwrap_err().starts_with(name));
        }
        let silence = |name: &str| (name == "TIDEMILL_GIT_SILENCE").then(|| "2m".to_owned());
        let settings = SourceSettings::from_variables(silence).unwrap();
        assert_eq!(settings.limits.silence, Duration::from_secs(120));
    }
}
