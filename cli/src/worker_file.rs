//! `worker.toml`: what one job may use at most on the workers of this machine.

use crate::failure::{Failure, Outcome};
use serde::Deserialize;
use std::{fs, io::ErrorKind, path::Path};
use tidemill_core::pipeline;
use tidemill_worker::limits::Limits;

/// What the file says, with the default for all that it does not name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkerFile {
    /// Limits of one job.
    pub limits: Limits,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    limits: WrittenLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLimits {
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
    fn text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl TryFrom<NumberOrText> for Size {
    type Error = String;
    fn try_from(written: NumberOrText) -> Result<Self, String> {
        pipeline::bytes(&written.text()).map(Self)
    }
}

impl TryFrom<NumberOrText> for Cpus {
    type Error = String;
    fn try_from(written: NumberOrText) -> Result<Self, String> {
        pipeline::cpus(&written.text()).map(Self)
    }
}

impl WorkerFile {
    /// What the file at `path` says; without a file all is as by default.
    pub fn load(path: &Path) -> Outcome<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                Self::read(&text).map_err(|words| Failure::usage(format!("{}: {words}", path.display())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::usage(format!("{} cannot be read: {error}", path.display()))),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let (written, usual) = (written.limits, Limits::default());
        let size = |written: Option<Size>, usual: u64| written.map_or(usual, |size| size.0);
        let limits = Limits {
            memory_bytes: written.memory.map(|size| size.0),
            cpus: written.cpus.map(|cpus| cpus.0),
            pids: written.pids.unwrap_or(usual.pids),
            open_files: written.open_files.unwrap_or(usual.open_files),
            shm_bytes: size(written.shm, usual.shm_bytes),
            log_bytes: size(written.log, usual.log_bytes),
            artifact_bytes: size(written.artifacts, usual.artifact_bytes),
            cache_bytes: size(written.cache, usual.cache_bytes),
            workspace_bytes: size(written.workspace, usual.workspace_bytes),
        };
        if limits.pids == 0 {
            return Err("`pids` is 0: no job could run; the default is 4096".to_owned());
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
    fn worker_file_changes_what_it_names_and_nothing_else() {
        assert_eq!(WorkerFile::read("").unwrap(), WorkerFile::default());
        let text = "[limits]\nmemory = \"2GiB\"\ncpus = 1.5\nlog = \"10MiB\"\nopen_files = 0\n";
        let limits = Limits {
            memory_bytes: Some(2 << 30),
            cpus: Some(1.5),
            log_bytes: 10 << 20,
            open_files: 0,
            ..Limits::default()
        };
        assert_eq!(WorkerFile::read(text).unwrap().limits, limits);
    }

    #[test]
    fn mistake_in_worker_file_names_its_line() {
        for (text, words) in [
            ("[limits]\nlogs = 5\n", "unknown field `logs`"),
            ("[limits]\nlog = \"much\"\n", "line 2"),
            ("[limits]\npids = 0\n", "no job could run"),
        ] {
            let said = WorkerFile::read(text).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
