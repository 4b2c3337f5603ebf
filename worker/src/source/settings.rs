//! How a worker gets sources, and what it keeps of them.

use super::{bounds::Limits, prune::Retention};
use std::time::Duration;
use tidemill_core::pipeline::{bytes, span_s};

/// How a worker gets sources, and what it keeps of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceSettings {
    /// Limits of each operation.
    pub limits: Limits,
    /// What is kept.
    pub retention: Retention,
}

impl SourceSettings {
    /// Environment variables that set what differs from the defaults, with what each is.
    pub const VARIABLES: [(&'static str, &'static str); 9] = [
        ("TIDEMILL_GIT_SILENCE", "how long a git server may send next to nothing"),
        ("TIDEMILL_GIT_TIMEOUT", "how long one git operation may take in all"),
        ("TIDEMILL_GIT_MAX_SIZE", "how large the mirror of a repository may become"),
        ("TIDEMILL_CHECKOUT_MAX_SIZE", "how much the files of one checkout may have together"),
        ("TIDEMILL_CHECKOUT_MAX_FILES", "how many files one checkout may have"),
        ("TIDEMILL_SOURCES_MAX_TREES", "how many checkouts are kept"),
        ("TIDEMILL_SOURCES_MAX_AGE", "how long checkouts and uploads are kept without use"),
        ("TIDEMILL_SOURCES_MAX_SIZE", "how many bytes of checkouts, uploads and mirrors are kept"),
        ("TIDEMILL_SOURCES_MIN_FREE", "how much of the disk stays free, or else what is not in use goes"),
    ];

    /// The settings that `value` has for [`Self::VARIABLES`]; an error names the variable that has none it may have.
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut settings = Self::default();
        let Self { limits, retention } = &mut settings;
        for (name, _) in Self::VARIABLES {
            let Some(text) = value(name).filter(|text| !text.is_empty()) else { continue };
            let wrong = |error: String| format!("{name}: {error}");
            let time = || span_s(&text).map(Duration::from_secs).map_err(wrong);
            let size = || bytes(&text).map_err(wrong);
            let count = || text.parse::<u32>().map_err(|error| wrong(format!("`{text}`: {error}")));
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
            let of = |text: &'static str| {
                SourceSettings::from_variables(|asked| (asked == name).then(|| text.to_owned()))
            };
            let set = ["7s", "7MiB", "7"].into_iter().filter_map(|text| of(text).ok());
            assert!(set.into_iter().any(|settings| settings != SourceSettings::default()), "{name}");
            assert!(of("seven").unwrap_err().starts_with(name));
        }
        let silence = |name: &str| (name == "TIDEMILL_GIT_SILENCE").then(|| "2m".to_owned());
        let settings = SourceSettings::from_variables(silence).unwrap();
        assert_eq!(settings.limits.silence, Duration::from_secs(120));
    }
}
