//! Deployments that are known by a name: what is kept of them, and when they are used.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::{Child, Output, Stdio},
    sync::Arc,
};
use support::{Place, finish, serve, stop, text};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

const ONE: &str = "name: one\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n";

/// A place, and beside it a server that knows nothing of it.
struct LoginFixture {
    place: Place,
    server: Option<Child>,
    url: String,
    token: String,
}

impl LoginFixture {
    fn new() -> Self {
        let place = Place::new(ONE);
        let data = place.dir.path().join("server");
        let (server, url) = serve(&place, &data, "0");
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { place, server: Some(server), url, token }
    }

    fn config(&self) -> PathBuf {
        self.place.dir.path().join("config.toml")
    }

    /// `tidemill` with these words, and `input` piped in.
    fn piped(&self, words: &[&str], input: &str) -> Output {
        let mut child = self
            .place
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        finish(child)
    }

    fn login(&self, more: &[&str]) -> Output {
        self.piped(&[&["login", &self.url], more].concat(), &format!("{}\n", self.token))
    }
}

impl Drop for LoginFixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take().filter(|_| !std::thread::panicking()) {
            stop(server);
        }
    }
}

/// How a command ended, and what it said.
fn said(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn profile_is_private_and_used_when_selected() {
    let known = LoginFixture::new();
    let login = known.login(&["--profile", "ci"]);
    assert_eq!(login.status.code(), Some(0), "{login:?}");
    assert!(!text(&login.stdout).contains(&known.token) && !text(&login.stderr).contains(&known.token));
    assert_eq!(fs::metadata(known.config()).unwrap().mode() & 0o777, 0o600);

    let tidemill = |words: &[&str]| known.place.tidemill(words);
    // A run that is not told otherwise stays on this machine, and its records with it.
    assert_eq!(tidemill(&["run", "--quiet"]).status.code(), Some(0));
    assert_eq!(known.place.executions().len(), 1);
    for words in [&["status", "--json", "--profile", "ci"][..], &["status", "--json", "--server", &known.url]]
    {
        let there = tidemill(words);
        assert_eq!((said(&there), text(&there.stdout).trim()), ((0, String::new()), "[]"), "{there:?}");
    }
    let by_variable =
        known.place.command(&["status", "--json"]).env("TIDEMILL_PROFILE", "ci").output().unwrap();
    assert_eq!(text(&by_variable.stdout).trim(), "[]", "{by_variable:?}");

    let logout = tidemill(&["logout"]);
    assert_eq!(logout.status.code(), Some(0), "{logout:?}");
    let (code, words) = said(&tidemill(&["status", "--profile", "ci"]));
    assert!(code == 2 && words.contains("no profile `ci`"), "{words}");
}

#[test]
fn default_profile_is_named_in_the_output() {
    let known = LoginFixture::new();
    assert_eq!(known.login(&["--profile", "ci", "--default"]).status.code(), Some(0));
    let (code, words) = said(&known.place.tidemill(&["status"]));
    assert_eq!((code, words), (0, format!("using {} (profile ci)\n", known.url)));
    let here = known.place.tidemill(&["status", "--profile", "local"]);
    assert_eq!(said(&here), (0, String::new()));
    let (code, words) = said(&known.login(&["--profile", "local"]));
    assert!(code == 2 && words.contains("reserved for this machine"), "{words}");
}

#[test]
fn token_readable_by_others_is_not_used() {
    let known = LoginFixture::new();
    assert_eq!(known.login(&["--profile", "ci"]).status.code(), Some(0));
    fs::set_permissions(known.config(), fs::Permissions::from_mode(0o640)).unwrap();
    for words in [&["status", "--profile", "ci"][..], &["status", "--server", &known.url]] {
        let (code, said) = said(&known.place.tidemill(words));
        assert!(code == 2 && said.contains("chmod 600") && said.contains("0640"), "{said}");
    }
    // What needs no token is not held up.
    assert_eq!(known.place.tidemill(&["status"]).status.code(), Some(0));
}

#[test]
fn login_saves_only_a_working_profile() {
    let known = LoginFixture::new();
    let wrong = known.piped(&["login", &known.url], "wrong\n");
    let (code, words) = said(&wrong);
    assert!(code == 2 && words.contains("rejected the token"), "{words}");
    let elsewhere = format!("{}/elsewhere", known.url);
    let (code, words) = said(&known.piped(&["login", &elsewhere], "secret\n"));
    assert!(code == 2 && words.contains("is not a Tidemill deployment"), "{words}");
    let (code, words) = said(&known.piped(&["login", &known.url], "\n"));
    assert!(code == 2 && words.contains("no token: "), "{words}");
    let (code, words) = said(&known.piped(&["login", "ci.example.org"], "secret\n"));
    assert!(code == 2 && words.contains("expected https://"), "{words}");
    assert!(!known.config().exists());
    fs::write(known.config(), "[profiles.ci]\nserver = \"x\"\ntoken = \"secret\"\ntokn = 1\n").unwrap();
    let (code, words) = said(&known.place.tidemill(&["status", "--profile", "ci"]));
    assert!(code == 2 && words.contains("tokn") && !words.contains("secret"), "{words}");
}

#[test]
fn https_deployment_is_trusted_by_the_given_ca() {
    let known = LoginFixture::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = known.place.dir.path().join("root.pem");
    fs::write(&root, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = known.url.trim_start_matches("http://").to_owned();
    runtime.spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(mut from) = acceptor.accept(from).await else { return };
                let mut to = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let login = || {
        let mut command = known.place.command(&["login", &url, "--token", &known.token, "--profile", "tls"]);
        command.stdin(Stdio::null());
        command
    };
    let (code, words) = said(&login().output().unwrap());
    assert!(code == 3 && words.contains("certificate"), "{words}");
    let trusted = login().env("SSL_CERT_FILE", &root).output().unwrap();
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
    let status =
        known.place.command(&["status", "--profile", "tls"]).env("SSL_CERT_FILE", &root).output().unwrap();
    assert_eq!(said(&status), (0, String::new()));
}

#[test]
fn token_is_sent_over_plain_http_only_to_loopback_unless_allowed() {
    let known = LoginFixture::new();
    // No loopback address, although it leads to this machine.
    let url = known.url.replace("127.0.0.1", "0.0.0.0");
    let status = |words: &[&str]| {
        known
            .place
            .tidemill(&[&["--server", &url, "--token", &known.token, "status", "--json"], words].concat())
    };
    let (code, words) = said(&status(&[]));
    assert!(code == 2 && words.contains("--insecure-http") && words.contains(&url), "{words}");
    assert!(!words.contains(&known.token));
    assert_eq!(said(&status(&["--insecure-http"])), (0, String::new()));
    for (value, expected) in [("true", 0), ("1", 0), ("false", 2), ("perhaps", 2)] {
        let mut command = known.place.command(&["--server", &url, "--token", &known.token, "status"]);
        let done = command.env("TIDEMILL_INSECURE_HTTP", value).output().unwrap();
        assert_eq!(done.status.code(), Some(expected), "{value}: {done:?}");
    }
    for words in [
        &["run"][..],
        &["cancel"],
        &["token", "list"],
        &["worker", "--notices", "off", "--block-metadata", "off"],
    ] {
        let (code, said) =
            said(&known.place.tidemill(&[&["--server", &url, "--token", &known.token], words].concat()));
        assert!(code == 2 && said.contains("--insecure-http"), "{words:?}: {said}");
    }

    // A profile is told when it is made, and then says so itself.
    let input = format!("{}\n", known.token);
    let (code, words) = said(&known.piped(&["login", &url, "--profile", "ci"], &input));
    assert!(code == 2 && words.contains("--insecure-http") && !known.config().exists(), "{words}");
    let login = known.piped(&["login", &url, "--profile", "ci", "--insecure-http"], &input);
    assert_eq!(login.status.code(), Some(0), "{login:?}");
    assert!(text(&login.stderr).contains("does not use https"), "{login:?}");
    for words in [&["status", "--profile", "ci"][..], &["status", "--server", &url]] {
        assert_eq!(said(&known.place.tidemill(words)), (0, String::new()), "{words:?}");
    }
}

#[test]
fn token_may_begin_with_a_hyphen() {
    let place = Place::new(ONE);
    let data = place.dir.path().join("server");
    fs::create_dir_all(&data).unwrap();
    // Made by chance, one in 64 is like this.
    fs::write(data.join("token"), "-QsKA_token").unwrap();
    let (server, url) = serve(&place, &data, "0");
    let seen = place.tidemill(&["--server", &url, "--token", "-QsKA_token", "status", "--json"]);
    assert_eq!(seen.status.code(), Some(0), "{seen:?}");
    stop(server);
}
