//! Profiles of deployments: login, logout, storage and selection.

use crate::support::{TestEnv, finish, serve, stop, text};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::{Child, Output, Stdio},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

const ONE: &str = "name: one\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n";

/// An environment, and a server that its commands do not use by default.
struct LoginFixture {
    env: TestEnv,
    server: Option<Child>,
    url: String,
    token: String,
}

impl LoginFixture {
    fn new() -> Self {
        let env = TestEnv::new(ONE);
        let data = env.dir.path().join("server");
        let (server, url) = serve(&env, &data, "0");
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { env, server: Some(server), url, token }
    }

    fn config(&self) -> PathBuf {
        self.env.dir.path().join("config.toml")
    }

    /// Runs `tidemill` with `input` on standard input.
    fn piped(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .env
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        finish(child)
    }

    fn login(&self, extra: &[&str]) -> Output {
        self.piped(&[&["login", &self.url], extra].concat(), &format!("{}\n", self.token))
    }
}

impl Drop for LoginFixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take().filter(|_| !std::thread::panicking()) {
            stop(server);
        }
    }
}

/// Returns exit code and standard error.
fn exit_and_stderr(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn profile_is_private_and_used_when_selected() {
    let fixture = LoginFixture::new();
    let login = fixture.login(&["--profile", "ci"]);
    assert_eq!(login.status.code(), Some(0), "{login:?}");
    assert!(!text(&login.stdout).contains(&fixture.token) && !text(&login.stderr).contains(&fixture.token));
    assert_eq!(fs::metadata(fixture.config()).unwrap().mode() & 0o777, 0o600);

    let tidemill = |args: &[&str]| fixture.env.tidemill(args);
    // Without a selection, a run stays on this machine.
    assert_eq!(tidemill(&["run", "--quiet"]).status.code(), Some(0));
    assert_eq!(fixture.env.executions().len(), 1);
    for args in [
        &["status", "--format", "json", "--profile", "ci"][..],
        &["status", "--format", "json", "--server", &fixture.url],
    ] {
        let output = tidemill(args);
        assert_eq!(
            (exit_and_stderr(&output), text(&output.stdout).trim()),
            ((0, String::new()), "[]"),
            "{output:?}"
        );
    }
    let by_variable =
        fixture.env.command(&["status", "--format", "json"]).env("TIDEMILL_PROFILE", "ci").output().unwrap();
    assert_eq!(text(&by_variable.stdout).trim(), "[]", "{by_variable:?}");

    let logout = tidemill(&["logout"]);
    assert_eq!(logout.status.code(), Some(0), "{logout:?}");
    let (code, stderr) = exit_and_stderr(&tidemill(&["status", "--profile", "ci"]));
    assert!(code == 2 && stderr.contains("no profile `ci`"), "{stderr}");
}

#[test]
fn default_profile_is_named_in_the_output() {
    let fixture = LoginFixture::new();
    assert_eq!(fixture.login(&["--profile", "ci", "--default"]).status.code(), Some(0));
    let (code, stderr) = exit_and_stderr(&fixture.env.tidemill(&["status"]));
    assert_eq!((code, stderr), (0, format!("using {} (profile ci)\n", fixture.url)));
    let here = fixture.env.tidemill(&["status", "--profile", "local"]);
    assert_eq!(exit_and_stderr(&here), (0, String::new()));
    let (code, stderr) = exit_and_stderr(&fixture.login(&["--profile", "local"]));
    assert!(code == 2 && stderr.contains("reserved for this machine"), "{stderr}");
}

#[test]
fn token_readable_by_others_is_not_used() {
    let fixture = LoginFixture::new();
    assert_eq!(fixture.login(&["--profile", "ci"]).status.code(), Some(0));
    fs::set_permissions(fixture.config(), fs::Permissions::from_mode(0o640)).unwrap();
    for args in [&["status", "--profile", "ci"][..], &["status", "--server", &fixture.url]] {
        let (code, stderr) = exit_and_stderr(&fixture.env.tidemill(args));
        assert!(code == 2 && stderr.contains("chmod 600") && stderr.contains("0640"), "{stderr}");
    }
    // Commands that need no token still work.
    assert_eq!(fixture.env.tidemill(&["status"]).status.code(), Some(0));
}

#[test]
fn login_saves_only_a_working_profile() {
    let fixture = LoginFixture::new();
    let wrong = fixture.piped(&["login", &fixture.url], "wrong\n");
    let (code, stderr) = exit_and_stderr(&wrong);
    assert!(code == 2 && stderr.contains("rejected the token"), "{stderr}");
    let elsewhere = format!("{}/elsewhere", fixture.url);
    let (code, stderr) = exit_and_stderr(&fixture.piped(&["login", &elsewhere], "secret\n"));
    assert!(code == 2 && stderr.contains("is not a Tidemill deployment"), "{stderr}");
    let (code, stderr) = exit_and_stderr(&fixture.piped(&["login", &fixture.url], "\n"));
    assert!(code == 2 && stderr.contains("no token: "), "{stderr}");
    let (code, stderr) = exit_and_stderr(&fixture.piped(&["login", "ci.example.org"], "secret\n"));
    assert!(code == 2 && stderr.contains("starts with http:// or https://"), "{stderr}");
    assert!(!fixture.config().exists());
    fs::write(fixture.config(), "[profiles.ci]\nserver = \"x\"\ntoken = \"secret\"\ntokn = 1\n").unwrap();
    let (code, stderr) = exit_and_stderr(&fixture.env.tidemill(&["status", "--profile", "ci"]));
    assert!(code == 2 && stderr.contains("tokn") && !stderr.contains("secret"), "{stderr}");
}

/// A TLS proxy before a server.
struct TlsProxy {
    url: String,
    certificate: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl TlsProxy {
    /// Starts a proxy whose certificate is made with these parameters.
    fn start(fixture: &LoginFixture, parameters: &rcgen::CertificateParams) -> Self {
        let path = fixture.env.dir.path().join("certificate.pem");
        let acceptor = crate::tls::self_signed(&path, parameters);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let server = fixture.url.trim_start_matches("http://").to_owned();
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
        Self { url, certificate: path, _runtime: runtime }
    }
}

/// Parameters of a certificate for these names.
fn certificate_for(names: &[&str]) -> rcgen::CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    rcgen::CertificateParams::new(names).unwrap()
}

#[test]
fn https_deployment_is_trusted_by_the_given_ca() {
    let fixture = LoginFixture::new();
    let proxy = TlsProxy::start(&fixture, &certificate_for(&["localhost"]));
    let login = || {
        let mut command =
            fixture.env.command(&["login", &proxy.url, "--token", &fixture.token, "--profile", "tls"]);
        command.stdin(Stdio::null());
        command
    };
    let (code, stderr) = exit_and_stderr(&login().output().unwrap());
    assert!(code == 3 && stderr.contains("not issued by an authority"), "{stderr}");
    assert!(stderr.contains("--ca-cert (TIDEMILL_CA_CERT)"), "{stderr}");
    let trusted = login().env("SSL_CERT_FILE", &proxy.certificate).output().unwrap();
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
    let mut status = fixture.env.command(&["status", "--profile", "tls"]);
    let status = status.env("SSL_CERT_FILE", &proxy.certificate).output().unwrap();
    assert_eq!(exit_and_stderr(&status), (0, String::new()));
}

#[test]
fn login_keeps_the_certificate_of_an_authority_that_is_the_server_itself() {
    let fixture = LoginFixture::new();
    // `openssl req -x509` makes such certificates: of an authority, and without names of hosts unless asked for.
    for names in [&["localhost"][..], &[]] {
        let mut parameters = certificate_for(names);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let proxy = TlsProxy::start(&fixture, &parameters);
        let certificate = proxy.certificate.display().to_string();
        let input = format!("{}\n", fixture.token);
        let login = ["login", &proxy.url, "--profile", "tls"];
        let (code, stderr) = exit_and_stderr(&fixture.piped(&login, &input));
        assert!(code == 3 && stderr.contains("--ca-cert (TIDEMILL_CA_CERT)"), "{names:?}: {stderr}");
        let output = fixture.piped(&[&login[..], &["--ca-cert", &certificate]].concat(), &input);
        assert_eq!(output.status.code(), Some(0), "{names:?}: {output:?}");
        fs::remove_file(&proxy.certificate).unwrap();
        for args in [&["status", "--profile", "tls"][..], &["status", "--server", &proxy.url]] {
            assert_eq!(exit_and_stderr(&fixture.env.tidemill(args)), (0, String::new()), "{names:?}");
        }
    }
}

#[test]
fn certificate_that_does_not_fit_the_server_is_rejected_with_the_reason() {
    let fixture = LoginFixture::new();
    let mut elsewhere = certificate_for(&["ci.example.org"]);
    elsewhere.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut expired = certificate_for(&["localhost"]);
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    for (parameters, reason) in [
        (certificate_for(&["ci.example.org"]), "not for localhost"),
        (elsewhere, "not for localhost"),
        (expired, "has expired"),
    ] {
        let proxy = TlsProxy::start(&fixture, &parameters);
        let certificate = proxy.certificate.display().to_string();
        let args = ["login", &proxy.url, "--ca-cert", &certificate];
        let (code, stderr) = exit_and_stderr(&fixture.piped(&args, "x\n"));
        assert!(code == 3 && stderr.contains(reason), "{reason}: {stderr}");
    }
    // The server has no TLS.
    let url = fixture.url.replace("http://", "https://");
    let (code, stderr) = exit_and_stderr(&fixture.piped(&["login", &url], "x\n"));
    assert!(code == 3 && stderr.contains("does not answer in TLS"), "{stderr}");
}

#[test]
fn rejected_token_is_named_with_the_way_to_another() {
    let fixture = LoginFixture::new();
    assert_eq!(fixture.login(&["--profile", "ci"]).status.code(), Some(0));
    let id = ["token", "create", "--name", "reader", "--scope", "read", "--profile", "ci"];
    let reader = text(&fixture.env.tidemill(&id).stdout).trim().to_owned();
    let status = |token: &str| {
        let mut command = fixture.env.command(&["status", "--server", &fixture.url]);
        exit_and_stderr(&command.env("TIDEMILL_TOKEN", token).output().unwrap())
    };
    let (code, stderr) = status("wrong");
    assert!(code == 3 && stderr.contains("token of TIDEMILL_TOKEN: it is unknown"), "{stderr}");
    assert!(stderr.contains("tidemill token create") && stderr.contains("tidemill login"), "{stderr}");
    assert_eq!(status(&reader).0, 0);
    let cancel = ["token", "list", "--server", &fixture.url, "--token", &reader];
    let (code, stderr) = exit_and_stderr(&fixture.env.tidemill(&cancel));
    assert!(code == 3 && stderr.contains("token of --token: "), "{stderr}");
    assert!(stderr.contains("scopes read; the operation requires one of admin"), "{stderr}");
    assert!(stderr.contains("tidemill token create") && !stderr.contains(&reader), "{stderr}");
}

#[test]
fn token_is_sent_over_plain_http_only_to_loopback_unless_allowed() {
    let fixture = LoginFixture::new();
    // Not a loopback address, although it reaches this machine.
    let url = fixture.url.replace("127.0.0.1", "0.0.0.0");
    let status = |args: &[&str]| {
        fixture.env.tidemill(
            &[&["status", "--format", "json", "--server", &url, "--token", &fixture.token], args].concat(),
        )
    };
    let (code, stderr) = exit_and_stderr(&status(&[]));
    assert!(code == 2 && stderr.contains("--insecure-http") && stderr.contains(&url), "{stderr}");
    assert!(!stderr.contains(&fixture.token));
    assert_eq!(exit_and_stderr(&status(&["--insecure-http"])), (0, String::new()));
    for (value, expected) in [("true", 0), ("1", 0), ("false", 2), ("perhaps", 2)] {
        let mut command = fixture.env.command(&["status", "--server", &url, "--token", &fixture.token]);
        let done = command.env("TIDEMILL_INSECURE_HTTP", value).output().unwrap();
        assert_eq!(done.status.code(), Some(expected), "{value}: {done:?}");
    }
    for args in [
        &["run"][..],
        &["cancel"],
        &["token", "list"],
        &["worker", "--notices", "off", "--block-metadata", "off"],
    ] {
        let (code, stderr) = exit_and_stderr(
            &fixture.env.tidemill(&[args, &["--server", &url, "--token", &fixture.token]].concat()),
        );
        assert!(code == 2 && stderr.contains("--insecure-http"), "{args:?}: {stderr}");
    }

    // Login requires the flag, and the profile stores it.
    let input = format!("{}\n", fixture.token);
    let (code, stderr) = exit_and_stderr(&fixture.piped(&["login", &url, "--profile", "ci"], &input));
    assert!(code == 2 && stderr.contains("--insecure-http") && !fixture.config().exists(), "{stderr}");
    let login = fixture.piped(&["login", &url, "--profile", "ci", "--insecure-http"], &input);
    assert_eq!(login.status.code(), Some(0), "{login:?}");
    assert!(text(&login.stderr).contains("does not use https"), "{login:?}");
    for args in [&["status", "--profile", "ci"][..], &["status", "--server", &url]] {
        assert_eq!(exit_and_stderr(&fixture.env.tidemill(args)), (0, String::new()), "{args:?}");
    }
}

#[test]
fn token_may_start_with_a_hyphen() {
    let env = TestEnv::new(ONE);
    let data = env.dir.path().join("server");
    fs::create_dir_all(&data).unwrap();
    // One random token in 64 starts with a hyphen.
    fs::write(data.join("token"), "-QsKA_token").unwrap();
    let (server, url) = serve(&env, &data, "0");
    let output = env.tidemill(&["status", "--format", "json", "--server", &url, "--token", "-QsKA_token"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stop(server);
}

#[test]
fn case_real_15_repo_add_beside_a_server_prints_the_address_of_the_server() {
    let mut fixture = LoginFixture::new();
    let data = fixture.env.dir.path().join("server");
    let add = |fixture: &LoginFixture| {
        let args = ["repo", "add", "https://github.com/team/app.git", "--provider", "github"];
        let output = crate::support::binary(&fixture.env, &data).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    let shown = add(&fixture);
    assert!(shown.contains(&format!("webhook URL: {}/api/webhook/github", fixture.url)), "{shown}");
    stop(fixture.server.take().unwrap());
    let shown = add(&fixture);
    assert!(shown.contains("the address of your server") && shown.contains("/api/webhook/github"), "{shown}");
    assert!(!shown.contains("127.0.0.1"), "{shown}");
}

#[test]
fn open_prints_the_page_of_a_server_and_beside_it() {
    let mut fixture = LoginFixture::new();
    assert_eq!(fixture.login(&["--profile", "ci"]).status.code(), Some(0));
    let data = fixture.env.dir.path().join("server");
    let here = |fixture: &LoginFixture, args: &[&str]| {
        crate::support::binary(&fixture.env, &data).args(args).output().unwrap()
    };
    let request = serde_json::json!({
        "pipeline": fs::read_to_string(fixture.env.repo().join(".pipelines/ci.yml")).unwrap(),
        "repo": fixture.env.repo().canonicalize().unwrap(), "source": { "kind": "none" },
    });
    let api = tidemill_worker::client::ApiClient::new(&fixture.url, &fixture.token);
    let started = tokio::runtime::Runtime::new().unwrap().block_on(api.post::<_, serde_json::Value>(
        tidemill_core::api::path::EXECUTE,
        &request,
        std::time::Duration::from_secs(60),
    ));
    let id = started.unwrap()["execution_id"].as_str().unwrap().to_owned();
    let page = format!("{}/executions/{id}", fixture.url);
    let opened = fixture.env.tidemill(&["open", "--profile", "ci"]);
    assert_eq!((opened.status.code(), text(&opened.stdout)), (Some(0), format!("{page}\n")), "{opened:?}");
    let opened = fixture.env.tidemill(&["open", &id[..35], "--profile", "ci", "--format", "json"]);
    let opened: serde_json::Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!((&opened["url"], &opened["execution"]["id"]), (&page.clone().into(), &id.clone().into()));
    let beside = here(&fixture, &["open", "1"]);
    assert_eq!((beside.status.code(), text(&beside.stdout)), (Some(0), format!("{page}\n")), "{beside:?}");
    stop(fixture.server.take().unwrap());
    let (code, stderr) = exit_and_stderr(&here(&fixture, &["open", "1"]));
    assert!(code == 2 && stderr.contains("have no page without a server"), "{stderr}");
}
