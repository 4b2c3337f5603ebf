//! Runs git in a restricted environment. All rules on what git may contact and run are defined here.
//!
//! No repository that is writable by others is trusted. Commands get settings that override those of every repository: no
//! hooks, no file system monitor, no attributes of this machine, no credential helpers, and no protocol except the
//! one that a command needs. System and user configuration is not read; the operator may name a file
//! with settings for network operations (see [`variable`]).

pub mod child;
pub mod commit_files;
pub mod compared;
pub mod lfs_files;
pub mod lfs_pointer;
pub mod listing;
pub mod objects;
pub mod process;

use super::bounds::OperationBounds;
use std::{
    ffi::OsString,
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
};

pub use super::error::SourceError;
use process::{ProcessLimits, supervise};

/// Environment variables that configure how a worker's git accesses git servers.
pub mod variable {
    /// A git configuration file for operations that contact a git server: credential helpers, proxies, certificates.
    pub const CONFIG: &str = "TIDEMILL_GIT_CONFIG";
    /// Comma-separated names of additional environment variables that credential helpers need.
    pub const ALLOWED_VARIABLES: &str = "TIDEMILL_GIT_ENV";
}

/// Variables of this process's environment that git inherits.
const ALLOWED_VARIABLES: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CONFIG_HOME"];
/// Additional variables that git inherits for network operations.
const NETWORK_VARIABLES: [&str; 21] = [
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_PROXY_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KRB5CCNAME",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "GIT_EXEC_PATH",
];
/// Limits the wait for a server that accepts a connection and sends nothing, or that disappeared.
const SSH_COMMAND: &str =
    "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 -oServerAliveCountMax=4";
/// Settings of every command, which override those of any repository.
const GIT_CONFIG: [(&str, &str); 15] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.askPass", ""),
    ("core.pager", "cat"),
    ("protocol.allow", "never"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.unpackLimit", "1"),
    ("transfer.unpackLimit", "1"),
    ("promisor.acceptFromServer", "none"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("advice.detachedHead", "false"),
];
/// Additional settings for network operations. Received objects are checked; harmless errors that old tools made are ignored.
const NETWORK_GIT_CONFIG: [(&str, &str); 10] = [
    ("fetch.fsckObjects", "true"),
    ("fetch.fsck.badDate", "ignore"),
    ("fetch.fsck.badEmail", "ignore"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingEmail", "ignore"),
    ("fetch.fsck.missingNameBeforeEmail", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.missingSpaceBeforeEmail", "ignore"),
    ("fetch.fsck.zeroPaddedDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
];
/// Maximum output in bytes.
const MAX_OUTPUT: usize = 64 << 20;
/// Maximum length of a ref name in bytes.
const MAX_REF_NAME: usize = 1024;

/// Creates a git command without network access, prompts, and programs that a repository configures.
pub fn command() -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    inherit(&mut command, &ALLOWED_VARIABLES);
    configure(&mut command, &[]);
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_PROTOCOL_FROM_USER", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSH_COMMAND", "false")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Creates a git command for the repository whose git directory is `git_dir`, without network access.
pub fn at(git_dir: &Path) -> Command {
    let mut command = command();
    command.arg("--git-dir").arg(git_dir);
    command
}

/// Creates a git command for `git_dir` that may fetch from local repositories, which Tidemill created itself.
pub fn local_fetch_command(git_dir: &Path) -> Command {
    let mut command = at(git_dir);
    command.env("GIT_ALLOW_PROTOCOL", "file");
    command
}

/// Creates a git command that may contact the repository at `url` with the operator's credentials, only over the protocol
/// that the address names.
pub fn network_command(url: &str) -> Result<Command, SourceError> {
    let protocols = protocols(url).ok_or_else(|| {
        SourceError::new(format!(
            "`{url}` is not a repository address; use https://, ssh://, git:// or git@host:path"
        ))
    })?;
    let mut command = command();
    command.env("GIT_ALLOW_PROTOCOL", protocols);
    if protocols == "file" {
        return Ok(command);
    }
    command.env("GIT_SSH_COMMAND", SSH_COMMAND);
    inherit(&mut command, &NETWORK_VARIABLES);
    if let Some(file) = nonempty_variable(variable::CONFIG) {
        command.env("GIT_CONFIG_GLOBAL", file);
    }
    let additional = additional_variables();
    inherit(&mut command, &additional.iter().map(String::as_str).collect::<Vec<_>>());
    let silence = OperationBounds::current().limits.silence.as_secs().max(1).to_string();
    let low_speed_limits = [("http.lowSpeedLimit", "16"), ("http.lowSpeedTime", silence.as_str())];
    configure(&mut command, &[&NETWORK_GIT_CONFIG[..], &low_speed_limits].concat());
    Ok(command)
}

/// Returns the names of the variables that the operator's credential helpers need.
pub fn additional_variables() -> Vec<String> {
    let names = nonempty_variable(variable::ALLOWED_VARIABLES)
        .and_then(|names| names.into_string().ok())
        .unwrap_or_default();
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the value of `GIT_ALLOW_PROTOCOL` that git needs for `url`.
fn protocols(url: &str) -> Option<&'static str> {
    if url.starts_with('/') {
        return Some("file");
    }
    if let Some((scheme, _)) = url.split_once("://") {
        return Some(match scheme {
            "https" => "https",
            // The server may redirect to https.
            "http" => "http:https",
            "ssh" => "ssh",
            "git" => "git",
            "file" => "file",
            _ => return None,
        });
    }
    // `git@host:path`, but not `ext::` and the like, which name a remote helper.
    let (host, path) = url.split_once(':')?;
    (!host.is_empty() && !host.starts_with('-') && !host.contains('/') && !path.starts_with(':'))
        .then_some("ssh")
}

fn nonempty_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn inherit(command: &mut Command, names: &[&str]) {
    for name in names {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

/// Sets [`GIT_CONFIG`] and `additional` in the environment, which processes that git starts inherit.
fn configure(command: &mut Command, additional: &[(&str, &str)]) {
    let settings = GIT_CONFIG.iter().chain(additional);
    let mut count = 0_usize;
    for (key, value) in settings {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}

/// Runs `command` and returns its output.
pub fn run(command: &mut Command) -> Result<String, SourceError> {
    run_limited(command, ProcessLimits::default())
}

/// Runs `command` within `limits` and returns its output.
pub fn run_limited(command: &mut Command, limits: ProcessLimits<'_>) -> Result<String, SourceError> {
    let mut output = Vec::new();
    let is_complete = stream(command, limits, &mut |bytes| {
        output.extend_from_slice(bytes);
        if output.len() > MAX_OUTPUT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if !is_complete {
        return Err(SourceError::new(format!("git printed more than {MAX_OUTPUT} bytes")));
    }
    Ok(String::from_utf8(output)
        .unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()))
}

/// Runs `command` and passes its output to `sink`. Returns false if `sink` stopped before the end.
pub fn stream(
    command: &mut Command,
    limits: ProcessLimits<'_>,
    sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<bool, SourceError> {
    let outcome = supervise(command, limits, sink)?;
    match outcome.status {
        None => Ok(false),
        Some(status) if status.success() => Ok(true),
        Some(status) if outcome.stderr.is_empty() => Err(SourceError::new(format!("git: {status}"))),
        Some(_) => Err(SourceError::new(format!("git: {}", outcome.stderr))),
    }
}

/// Runs git and returns its output.
#[cfg(test)]
pub fn text(args: &[&str]) -> Result<String, SourceError> {
    run(command().args(args))
}

/// Returns whether `text` is a full commit hash.
pub fn is_full_hash(text: &str) -> bool {
    (text.len() == 40 || text.len() == 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns whether `text` is a valid branch, tag or ref name, and no option, range or pattern.
pub fn is_ref_name(text: &str) -> bool {
    let is_invalid_component =
        |part: &str| part.is_empty() || part.starts_with('.') || part.strip_suffix(".lock").is_some();
    text.len() <= MAX_REF_NAME
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && !text.split('/').any(is_invalid_component)
        && !text.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_ref_name, network_command, protocols};

    #[test]
    fn git_protocol_is_limited_to_scheme() {
        for (url, protocol) in [
            ("https://git.example.org/a.git", "https"),
            ("http://git.example.org/a.git", "http:https"),
            ("ssh://git@git.example.org/a.git", "ssh"),
            ("git@git.example.org:a.git", "ssh"),
            ("git://git.example.org/a.git", "git"),
            ("/srv/a.git", "file"),
            ("file:///srv/a.git", "file"),
        ] {
            assert_eq!(protocols(url), Some(protocol), "{url}");
        }
        for url in [
            "ext::sh -c id",
            "fd::1",
            "ext://x",
            "a.git",
            "../a.git",
            "-oProxyCommand=id:x",
            "",
            "testgit::x",
            "sub/dir://git.example.org/a",
        ] {
            assert_eq!(protocols(url), None, "{url}");
            assert!(network_command(url).is_err());
        }
    }

    #[test]
    fn ref_names_are_validated() {
        for name in ["main", "feature/x", "refs/heads/main", "refs/pull/1/head", "v1.0", "@x", "ä"] {
            assert!(is_ref_name(name), "{name}");
        }
        for name in [
            "", "-x", "a..b", "a:b", "a b", "a*", "a~1", "a^", "@", "@{-1}", "/a", "a/", "a//b", ".a",
            "a/.b", "a.lock", "a\n", "a\\b", "a.",
        ] {
            assert!(!is_ref_name(name), "{name}");
        }
    }
}
