//! Tokens, TLS and the audit log on the command line.

use crate::support::{TestEnv, binary, json, stop, text, wait_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Output, Stdio},
};

const ONE: &str = "name: one\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";

/// A server with TLS, and the settings of its clients.
struct TlsServer {
    env: TestEnv,
    server: Option<Child>,
    url: String,
    token: String,
}

/// Writes a certificate for `localhost`, its key, and the certificate of its authority.
fn write_certificate(env: &TestEnv, name: &str) -> [PathBuf; 3] {
    let mut authority_params = CertificateParams::new(Vec::new()).unwrap();
    authority_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority_params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let file = |ending: &str, text: String| {
        let path = env.dir.path().join(format!("{name}.{ending}"));
        fs::write(&path, text).unwrap();
        path
    };
    [file("pem", certificate.pem()), file("key", key.serialize_pem()), file("ca", authority.pem())]
}

impl TlsServer {
    fn start() -> Self {
        let env = TestEnv::new(ONE);
        let [certificate, key, _] = write_certificate(&env, "server");
        let data = env.dir.path().join("server");
        let mut server = binary(&env, &data)
            .args(["server", "--listen", "127.0.0.1:0", "--jobs", "2", "--tls-cert"])
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .stdin(Stdio::null())
            .env("TIDEMILL_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(env.dir.path().join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
        let url = url.trim_end_matches(',').replace("127.0.0.1", "localhost");
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { env, server: Some(server), url, token }
    }

    /// Runs a command with this token that trusts the authority of this name.
    fn tidemill(&self, token: &str, authority: &str, args: &[&str]) -> Output {
        let mut command = self.env.command(args);
        command.env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", token);
        command.env("TIDEMILL_CA_CERT", self.env.dir.path().join(format!("{authority}.ca")));
        command.stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            stop(server);
        }
    }
}

#[test]
fn tls_server_runs_jobs_until_the_token_is_revoked_and_audits_them() {
    let server = TlsServer::start();
    let admin_token = server.token.clone();
    let args = ["token", "create", "--name", "bot", "--scope", "run", "--expires", "90d"];
    let created = server.tidemill(&admin_token, "server", &args);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    let token = text(&created.stdout).trim().to_owned();
    assert!(token.starts_with("tm_") && !text(&created.stderr).contains(&token), "{created:?}");
    let run = server.tidemill(&token, "server", &["run", "--format", "json"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(json(&run)["execution"]["status"], "SUCCESS");
    let rejected = server.tidemill(&token, "server", &["token", "list"]);
    assert!(text(&rejected.stderr).contains("requires one of admin"), "{rejected:?}");
    let listed: Value =
        json(&server.tidemill(&admin_token, "server", &["token", "list", "--format", "json"]));
    assert!(listed[0]["last_used_at"].is_string(), "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let revoked = server.tidemill(&admin_token, "server", &["token", "revoke", id]);
    assert_eq!(text(&revoked.stdout), format!("revoked bot ({id})\n"), "{revoked:?}");
    let rejected = server.tidemill(&token, "server", &["status"]);
    assert_eq!(rejected.status.code(), Some(3), "{rejected:?}");
    let audit: Value = json(&server.tidemill(&admin_token, "server", &["audit", "--format", "json"]));
    let actions: Vec<&str> =
        audit.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["token.revoke", "execution.start", "token.create"], "{audit}");
    assert_eq!((&audit[1]["who"], &audit[1]["from"]), (&"bot".into(), &"127.0.0.1".into()));
}

#[test]
fn new_certificate_is_loaded_and_an_invalid_one_is_not() {
    let server = TlsServer::start();
    let works =
        |authority: &str| server.tidemill(&server.token, authority, &["audit"]).status.code() == Some(0);
    let at = |name: &str| server.env.dir.path().join(name);
    assert!(works("server"));
    let [certificate, key, _] = write_certificate(&server.env, "next");
    // The new certificate does not match the old key.
    fs::copy(&certificate, at("server.pem")).unwrap();
    wait_until(|| fs::read_to_string(at("server.log")).unwrap().contains("the current one stays in use"))
        .unwrap();
    assert!(works("server"), "the previous certificate stays in use");
    fs::copy(&key, at("server.key")).unwrap();
    wait_until(|| works("next")).unwrap();
}

#[test]
fn server_beyond_loopback_requires_tls_or_the_plain_http_flag() {
    let env = TestEnv::new(ONE);
    let rejected = env.tidemill(&["server", "--listen", "0.0.0.0:0", "--jobs", "0"]);
    assert_eq!(rejected.status.code(), Some(2), "{rejected:?}");
    assert!(text(&rejected.stderr).contains("--plain-http-on-a-network"), "{rejected:?}");
    let args = ["server", "--listen", "0.0.0.0:0", "--jobs", "0", "--plain-http-on-a-network"];
    let mut server = env.spawn(&args);
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("serving on http://0.0.0.0:"), "{line}");
    stop(server);
    let broken = env.dir.path().join("broken.pem");
    fs::write(&broken, "nothing").unwrap();
    let broken = broken.to_str().unwrap();
    let rejected = env.tidemill(&["server", "--tls-cert", broken, "--tls-key", broken]);
    assert_eq!(rejected.status.code(), Some(2), "{rejected:?}");
    assert!(text(&rejected.stderr).contains("it contains no PEM certificate"), "{rejected:?}");
}
