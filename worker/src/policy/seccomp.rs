//! The system calls that jobs may use.

use serde_json::Value;

/// The system calls that the containers of a job may use, instead of what the engine's own profile allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeccompProfile {
    /// All.
    Unconfined,
    /// Those that this profile allows: JSON in the form of Docker.
    Profile(String),
}

/// Why a text is not a profile. The text follows the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// It is not JSON.
    #[error("is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no default for system calls.
    #[error("is not a seccomp profile of Docker: it has no `defaultAction`, such as \"SCMP_ACT_ERRNO\"")]
    NoDefaultAction,
}

impl SeccompProfile {
    /// Reads a profile.
    pub fn parse(text: &str) -> Result<Self, SeccompError> {
        let profile: Value = serde_json::from_str(text)?;
        let action = profile.get("defaultAction").and_then(Value::as_str);
        if !action.is_some_and(|action| action.starts_with("SCMP_ACT_")) {
            return Err(SeccompError::NoDefaultAction);
        }
        Ok(Self::Profile(profile.to_string()))
    }

    /// Returns the security option by which the engine is asked for it.
    pub(crate) fn security_option(&self) -> String {
        match self {
            Self::Unconfined => "seccomp=unconfined".to_owned(),
            Self::Profile(json) => format!("seccomp={json}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::SeccompProfile;

    #[test]
    fn profile_is_json_with_a_default_action() {
        let profile = SeccompProfile::parse("{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}").unwrap();
        assert_eq!(profile.security_option(), r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#);
        assert_eq!(SeccompProfile::Unconfined.security_option(), "seccomp=unconfined");
        for (text, problem) in
            [("unconfined", "JSON"), ("[]", "defaultAction"), (r#"{"defaultAction": 1}"#, "defaultAction")]
        {
            assert!(SeccompProfile::parse(text).unwrap_err().to_string().contains(problem), "{problem}");
        }
    }
}
