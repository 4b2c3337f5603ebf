//! A repository with the files of a case, and the command line in it.

use crate::support::{finish, git::git, image, text};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A git repository on branch `main` with one commit, and a data directory beside it.
pub struct Project {
    dir: tempfile::TempDir,
}

/// Result of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    /// Creates a repository with these files. `IMAGE` in a file stands for the image of the tests.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(project.repo()).unwrap();
        for (path, content) in files {
            project.write(path, content.replace("IMAGE", &image()).as_bytes());
        }
        git(&project.repo(), &["init", "-q", "-b", "main"]);
        project.commit("first");
        project
    }

    pub fn repo(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// Writes a file of the working tree.
    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits the whole working tree; the commit may be empty.
    pub fn commit(&self, message: &str) {
        git(&self.repo(), &["add", "-A"]);
        git(&self.repo(), &["commit", "-q", "--allow-empty", "-m", message]);
    }

    /// Creates a command in the repository that uses no settings of this machine's user.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        for variable in ["TIDEMILL_SERVER", "TIDEMILL_TOKEN", "TIDEMILL_PROFILE", "TIDEMILL_QUEUE_URL"] {
            command.env_remove(variable);
        }
        command
            .current_dir(self.repo())
            .env("TIDEMILL_DATA_DIR", self.dir.path().join("data"))
            .env("TIDEMILL_CONFIG", self.dir.path().join("config.toml"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn tidemill(&self, args: &[&str]) -> Ended {
        let output = finish(self.command(args).spawn().unwrap());
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Runs the pipeline of `file`; it must end with this exit code.
    pub fn run(&self, file: &str, code: i32) -> Ended {
        let run = self.tidemill(&["run", "-f", file]);
        assert_eq!(run.code, code, "{run:?}");
        run
    }

    /// Returns the log of a job of the latest execution.
    pub fn log(&self, job: &str) -> String {
        let log = self.tidemill(&["logs", job]);
        assert_eq!(log.code, 0, "{log:?}");
        log.stdout
    }
}
