//! `worker.toml`: the limits of one job on the workers of this machine.

use crate::failure::{Failure, Outcome};
use serde::Deserialize;
use std::{fs, io::ErrorKind, path::Path};
use tidemill_core::pipeline;
use tidemill_worker::limits::Limits;

/// The settings of the file, with defaults for those that it does not set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerFile {
    /// Limits of one job.
    pub limits: Limits,
}

/// The file's format.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFormat {
    no_new_privileges: Option<bool>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    memory: Option<Size>,
    cpus: Option<Cpus>,
    pids: Option<u32>,
    open_files: Option<u32>,
    shm: Option<Size>,
    log: Option<Size>,
    artifacts: Option<Size>,
    cache: Option<Size>,
    workspace: Option<Size>,
}

/// Bytes: a number, or text such as `2GiB`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
struct Size(u64);

/// Processors: a number, or text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "NumberOrText")]
struct Cpus(f64);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl NumberOrText {
    fn into_text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;
    fn try_from(value: NumberOrText) -> Result<Self, String> {
        pipeline::bytes(&value.into_text()).map(Self)
    }
}

impl TryFrom<NumberOrText> for Cpus {
    type Error = String;
    fn try_from(value: NumberOrText) -> Result<Self, String> {
        pipeline::cpus(&value.into_text()).map(Self)
    }
}

impl WorkerFile {
    /// Reads the file at `path`; if it is missing, returns the defaults.
    pub fn load(path: &Path) -> Outcome<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map_err(|message| Failure::usage(format!("{}: {message}", path.display())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::usage(format!("{} cannot be read: {error}", path.display()))),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: FileFormat = toml::from_str(text).map_err(|error| error.to_string())?;
        let (table, defaults) = (file.limits, Limits::default());
        let size = |value: Option<Size>, default: u64| value.map_or(default, |size| size.0);
        let limits = Limits {
            memory_bytes: table.memory.map(|size| size.0),
            cpus: table.cpus.map(|cpus| cpus.0),
            pids: table.pids.unwrap_or(defaults.pids),
            open_files: table.open_files.unwrap_or(defaults.open_files),
            shm_bytes: size(table.shm, defaults.shm_bytes),
            log_bytes: size(table.log, defaults.log_bytes),
            artifact_bytes: size(table.artifacts, defaults.artifact_bytes),
            cache_bytes: size(table.cache, defaults.cache_bytes),
            workspace_bytes: size(table.workspace, defaults.workspace_bytes),
            no_new_privileges: file.no_new_privileges.unwrap_or(defaults.no_new_privileges),
        };
        if limits.pids == 0 {
            return Err("`pids` is 0, but every job needs a process; the default is 4096".to_owned());
        }
        Ok(Self { limits })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::WorkerFile;
    use tidemill_worker::limits::Limits;

    #[test]
    fn worker_file_changes_only_what_it_sets() {
        assert_eq!(WorkerFile::parse("").unwrap(), WorkerFile::default());
        let text = "no_new_privileges = false\n[limits]\nmemory = \"2GiB\"\ncpus = 1.5\nlog = \"10MiB\"\nopen_files = 0\n";
        let limits = Limits {
            memory_bytes: Some(2 << 30),
            cpus: Some(1.5),
            log_bytes: 10 << 20,
            open_files: 0,
            no_new_privileges: false,
            ..Limits::default()
        };
        assert_eq!(WorkerFile::parse(text).unwrap().limits, limits);
    }

    #[test]
    fn invalid_worker_file_error_names_field_and_line() {
        for (text, message) in [
            ("[limits]\nlogs = 5\n", "unknown field `logs`"),
            ("[limits]\nlog = \"much\"\n", "line 2"),
            ("[limits]\npids = 0\n", "every job needs a process"),
        ] {
            let error = WorkerFile::parse(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
