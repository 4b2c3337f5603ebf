//! A git server on this machine with a hook that posts webhooks like a provider.

use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Hook that posts a provider's webhook for a push.
const HOOK: &str = include_str!("post_receive.py");

/// `git daemon` on a free port.
pub struct GitServer {
    base: PathBuf,
    /// URL of its repository.
    pub url: String,
}

impl GitServer {
    /// Starts a server with an empty repository below `base`.
    pub fn start(base: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("git://{}/team/app.git", listener.local_addr().unwrap());
        let repository = base.join("team/app.git");
        let created =
            Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&repository).status();
        assert!(created.unwrap().success());
        let root = format!("--base-path={}", base.display());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let output = stream.try_clone().unwrap();
                let mut daemon = Command::new("git")
                    .args(["daemon", "--inetd", "--export-all", "--enable=receive-pack", &root])
                    .stdin(Stdio::from(OwnedFd::from(stream)))
                    .stdout(Stdio::from(OwnedFd::from(output)))
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::spawn(move || daemon.wait());
            }
        });
        Self { base: base.to_owned(), url }
    }

    /// Installs a hook that posts each push to `webhook`. `body` is the provider's published example, into which the hook inserts the
    /// push and this repository.
    pub fn install_hook(&self, webhook: &str, provider: &str, secret: &str, body: &Value) {
        let hook = self.base.join("team/app.git/hooks/post-receive");
        let settings = serde_json::json!({
            "webhook": webhook, "provider": provider, "secret": secret, "url": self.url, "body": body,
        });
        fs::write(hook.with_file_name("post-receive.json"), settings.to_string()).unwrap();
        fs::write(&hook, HOOK).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
