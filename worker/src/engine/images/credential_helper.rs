//! Credential helpers of Docker: programs `docker-credential-NAME` that hold or create logins, such as those of ECR and GCR.
//!
//! A helper gets the registry's address on standard input and prints JSON (docker/docker-credential-helpers, README).

use super::docker_config::Account;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// Maximum time of one call: helpers of clouds call a service.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a reply in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 10;
/// Maximum characters of a helper's own error message that are shown.
const MAX_MESSAGE_CHARS: usize = 200;
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";
/// What a helper prints, with an exit code of 1, if it has no login: the protocol has no code for it
/// (docker/docker-credential-helpers, `credentials/error.go`: `errCredentialsNotFoundMessage`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Why a helper gave no answer. Never contains a part of a login.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// Its name is not one of a program in the search path.
    #[error("is not a name of a credential helper")]
    Name,
    /// It could not be started.
    #[error("could not be started: {0}; install it on the worker's machine, in a directory of PATH")]
    Start(String),
    /// It took too long.
    #[error("did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// It failed.
    #[error("failed with exit code {code}{message}")]
    Failed {
        /// Its exit code; -1: a signal ended it.
        code: i32,
        /// What it printed, after a colon.
        message: String,
    },
    /// It printed too much.
    #[error("printed more than 64 KiB")]
    TooLarge,
    /// It printed something else than the protocol says.
    #[error("printed no JSON with `Username` and `Secret`")]
    Garbage,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks the helper `name` for its login at `server`; `None` if it has none.
pub async fn login(name: &str, server: &str) -> Result<Option<Account>, HelperError> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(is_name) {
        return Err(HelperError::Name);
    }
    call(&mut Command::new(format!("docker-credential-{name}")), server).await
}

/// Runs a helper and returns its answer.
async fn call(helper: &mut Command, server: &str) -> Result<Option<Account>, HelperError> {
    let spawned = helper
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut group = HelperGroup(spawned.map_err(|error| HelperError::Start(error.to_string()))?);
    let answered = tokio::time::timeout(TIMEOUT, answer(&mut group.0, server)).await;
    let (code, output) = answered.map_err(|_| HelperError::Timeout)??;
    if code != Some(0) {
        let message = String::from_utf8_lossy(&output);
        let message = message.trim();
        if message == NOT_FOUND {
            return Ok(None);
        }
        // After a failure a helper prints a message. JSON may be a login all the same.
        let shown = !message.is_empty() && !message.contains('{');
        let shown = shown.then(|| message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS));
        let message = shown.map(|text| format!(": {}", text.collect::<String>())).unwrap_or_default();
        return Err(HelperError::Failed { code: code.unwrap_or(-1), message });
    }
    let reply: Reply = serde_json::from_slice(&output).map_err(|_| HelperError::Garbage)?;
    Ok(Some(match reply {
        Reply { secret, .. } if secret.is_empty() => return Err(HelperError::Garbage),
        Reply { username, secret } if username == TOKEN_USER => {
            Account::IdentityToken { username: String::new(), token: secret }
        }
        Reply { username, secret } => Account::Password { username, password: secret },
    }))
}

/// Sends the request and returns exit code and output.
async fn answer(child: &mut Child, server: &str) -> Result<(Option<i32>, Vec<u8>), HelperError> {
    let failed = |error: std::io::Error| HelperError::Start(error.to_string());
    if let Some(mut input) = child.stdin.take() {
        // A helper may answer without reading its input.
        drop(input.write_all(server.as_bytes()).await);
    }
    let output = match child.stdout.take() {
        Some(output) => read_bounded(output).await?,
        None => Vec::new(),
    };
    Ok((child.wait().await.map_err(failed)?.code(), output))
}

async fn read_bounded(output: impl AsyncRead + Unpin) -> Result<Vec<u8>, HelperError> {
    let mut bytes = Vec::new();
    let read = output.take(MAX_REPLY_BYTES + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| HelperError::Start(error.to_string()))?;
    if bytes.len() as u64 > MAX_REPLY_BYTES {
        return Err(HelperError::TooLarge);
    }
    Ok(bytes)
}

/// A helper with the processes that it started. They are killed when this is dropped before the helper has ended.
struct HelperGroup(Child);

impl Drop for HelperGroup {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Account, HelperError, call, login};
    use tokio::process::Command;

    async fn answer_of(script: &str) -> Result<Option<Account>, HelperError> {
        call(Command::new("sh").args(["-c", script]), "r.example:5000").await
    }

    #[tokio::test]
    async fn answers_of_the_protocol_are_read() {
        let password = Account::Password { username: "mill".into(), password: "gr".into() };
        let read =
            r#"[ "$(cat)" = r.example:5000 ] && echo '{"ServerURL":"x","Username":"mill","Secret":"gr"}'"#;
        assert_eq!(answer_of(read).await, Ok(Some(password)));
        let token = Account::IdentityToken { username: String::new(), token: "t".into() };
        let unread = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(answer_of(unread).await, Ok(Some(token)));
        assert_eq!(answer_of("echo credentials not found in native keychain; exit 1").await, Ok(None));
    }

    #[tokio::test]
    async fn other_answers_are_errors_that_show_no_login() {
        let failed = |code, message: &str| HelperError::Failed { code, message: message.to_owned() };
        let json = r#"{"Username":"mill","Secret":"gr"}"#;
        for (script, error) in [
            ("echo gr", HelperError::Garbage),
            ("true", HelperError::Garbage),
            (r#"echo '{"Username":"mill"}'"#, HelperError::Garbage),
            (r#"echo '{"Username":"mill","Secret":""}'"#, HelperError::Garbage),
            ("echo no session; exit 2", failed(2, ": no session")),
            (&format!("echo '{json}'; exit 1"), failed(1, "")),
            ("kill -9 $$", failed(-1, "")),
            ("head -c 70000 /dev/zero", HelperError::TooLarge),
        ] {
            let answer = answer_of(script).await.unwrap_err();
            assert_eq!(answer, error, "{script}");
            assert!(!answer.to_string().contains("gr\""), "{answer}");
        }
        for name in ["", "../x", "a b", "a/b"] {
            assert_eq!(login(name, "r.example").await, Err(HelperError::Name), "{name}");
        }
        assert!(matches!(login("tidemill-absent", "r.example").await, Err(HelperError::Start(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_helper_is_killed_with_its_children() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 1000 & echo $! >{}; wait", file.path().display());
        let mut helper = Command::new("sh");
        let mut calling = Box::pin(call(helper.args(["-c", &script]), "r.example"));
        // The clock of the test advances only while everything waits, so the helper is started first.
        let child = loop {
            let polled = futures_util::poll!(&mut calling);
            assert!(polled.is_pending());
            let text = std::fs::read_to_string(file.path()).unwrap();
            if let Ok(child) = text.trim().parse::<u32>() {
                break child;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert_eq!(calling.await, Err(HelperError::Timeout));
        let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        while state().contains(") S ") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
