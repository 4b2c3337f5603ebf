//! Tokens, TLS and the audit record, as the command line shows them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Output, Stdio},
};
use support::{Place, binary, json, stop, text, wait_until};

const ONE: &str = "name: one\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";

/// A server with TLS, and what its clients need.
struct Secure {
    place: Place,
    server: Option<Child>,
    url: String,
    token: String,
}

/// Writes a certificate for `localhost`, its key, and the authority that signed it.
fn certify(place: &Place, name: &str) -> [PathBuf; 3] {
    let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(of_authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let file = |ending: &str, text: String| {
        let path = place.dir.path().join(format!("{name}.{ending}"));
        fs::write(&path, text).unwrap();
        path
    };
    [file("pem", certificate.pem()), file("key", key.serialize_pem()), file("ca", authority.pem())]
}

impl Secure {
    fn start() -> Self {
        let place = Place::new(ONE);
        let [certificate, key, _] = certify(&place, "server");
        let data = place.dir.path().join("server");
        let mut server = binary(&place, &data)
            .args(["server", "--listen", "127.0.0.1:0", "--workers", "2", "--tls-cert"])
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .stdin(Stdio::null())
            .env("TIDEMILL_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.dir.path().join("server.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
        let url = url.trim_end_matches(',').replace("127.0.0.1", "localhost");
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { place, server: Some(server), url, token }
    }

    /// A command with a token, that trusts the authority of this name.
    fn tidemill(&self, token: &str, authority: &str, words: &[&str]) -> Output {
        let mut command = self.place.command(words);
        command.env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", token);
        command.env("TIDEMILL_CA_CERT", self.place.dir.path().join(format!("{authority}.ca")));
        command.stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            stop(server);
        }
    }
}

#[test]
fn tls_server_runs_jobs_until_the_token_is_revoked_and_audits_them() {
    let secure = Secure::start();
    let own = secure.token.clone();
    let words = ["token", "create", "--name", "bot", "--scope", "run", "--expires", "90d"];
    let made = secure.tidemill(&own, "server", &words);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let token = text(&made.stdout).trim().to_owned();
    assert!(token.starts_with("tm_") && !text(&made.stderr).contains(&token), "{made:?}");
    let run = secure.tidemill(&token, "server", &["run", "--json"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(json(&run)["execution"]["status"], "SUCCESS");
    let refused = secure.tidemill(&token, "server", &["token", "list"]);
    assert!(text(&refused.stderr).contains("requires one of admin"), "{refused:?}");
    let listed: Value = json(&secure.tidemill(&own, "server", &["token", "list", "--json"]));
    assert!(listed[0]["last_used_at"].is_string(), "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let revoked = secure.tidemill(&own, "server", &["token", "revoke", id]);
    assert_eq!(text(&revoked.stdout), format!("revoked bot ({id})\n"), "{revoked:?}");
    let late = secure.tidemill(&token, "server", &["status"]);
    assert_eq!(late.status.code(), Some(3), "{late:?}");
    let audit: Value = json(&secure.tidemill(&own, "server", &["audit", "--json"]));
    let actions: Vec<&str> =
        audit.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["token.revoke", "execution.start", "token.create"], "{audit}");
    assert_eq!((&audit[1]["who"], &audit[1]["from"]), (&"bot".into(), &"127.0.0.1".into()));
}

#[test]
fn new_certificate_is_loaded_and_an_invalid_one_is_not() {
    let secure = Secure::start();
    let works =
        |authority: &str| secure.tidemill(&secure.token, authority, &["audit"]).status.code() == Some(0);
    let at = |name: &str| secure.place.dir.path().join(name);
    assert!(works("server"));
    let [certificate, key, _] = certify(&secure.place, "next");
    // A certificate without its key is no pair.
    fs::copy(&certificate, at("server.pem")).unwrap();
    wait_until(|| fs::read_to_string(at("server.log")).unwrap().contains("the current one stays in use"))
        .unwrap();
    assert!(works("server"), "the pair that was good stays");
    fs::copy(&key, at("server.key")).unwrap();
    wait_until(|| works("next")).unwrap();
}

#[test]
fn server_beyond_loopback_requires_tls_or_the_plain_http_flag() {
    let place = Place::new(ONE);
    let refused = place.tidemill(&["server", "--listen", "0.0.0.0:0", "--workers", "0"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("--plain-http-on-a-network"), "{refused:?}");
    let words = ["server", "--listen", "0.0.0.0:0", "--workers", "0", "--plain-http-on-a-network"];
    let mut server = place.spawn(&words);
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("serving on http://0.0.0.0:"), "{line}");
    stop(server);
    let broken = place.dir.path().join("broken.pem");
    fs::write(&broken, "nothing").unwrap();
    let broken = broken.to_str().unwrap();
    let refused = place.tidemill(&["server", "--tls-cert", broken, "--tls-key", broken]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("no certificate in it"), "{refused:?}");
}
