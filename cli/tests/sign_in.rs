//! Signing in the command line with a browser, roles and sessions, against a server with a provider on this machine.

use crate::support::{TestEnv, finish, json as parsed, serve, serve_with, stop, text, wait_until};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Output, Stdio},
    thread,
};

const ONE: &str = "name: one\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";

/// A reply: status, head and body.
struct Reply(u16, String, String);

impl Reply {
    /// Returns the value of a header.
    fn header(&self, name: &str) -> String {
        let line = self.1.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name}: {}", self.1)).split_once(": ").unwrap().1.to_owned()
    }
}

/// Sends a request over a connection of its own.
fn send(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let host = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply(status, head.to_owned(), body.to_owned())
}

/// Starts a provider with the API of Gitea, in a thread that lasts as long as the test; returns its address.
fn provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {
                let last = head.lines().next_back().unwrap().to_lowercase();
                if let Some(value) = last.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = if head.starts_with("POST /login/oauth/access_token ") {
                json!({ "access_token": "access" })
            } else {
                json!({ "sub": "7", "preferred_username": "Alice", "groups": ["team"] })
            };
            let body = body.to_string();
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(reply.as_bytes()).unwrap();
        }
    });
    url
}

/// A server at which people sign in, and an environment whose commands administer it.
struct SignInFixture {
    env: TestEnv,
    server: Option<Child>,
    url: String,
    token: String,
}

impl SignInFixture {
    fn new() -> Self {
        let env = TestEnv::new(ONE);
        let data = env.dir.path().join("server");
        let secret = env.dir.path().join("secret");
        fs::write(&secret, "a secret\n").unwrap();
        let provider = provider();
        let (server, url) = serve_with(&env, &data, "0", |command| {
            command.args(["--gitea-url", &provider, "--gitea-client-id", "id", "--gitea-client-secret-file"]);
            command.arg(&secret);
        });
        let token = fs::read_to_string(data.join("token")).unwrap();
        Self { env, server: Some(server), url, token }
    }

    /// Runs a command with the deployment's own token.
    fn admin(&self, args: &[&str]) -> Output {
        let mut command = self.env.command(args);
        command.env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Signs in as a browser does, and returns the cookie of the session.
    fn cookie(&self) -> String {
        let begun = send(&self.url, "GET", "/api/session/login?provider=gitea", &[], "");
        assert_eq!(begun.0, 303, "{}", begun.2);
        let location = begun.header("location");
        let state = location.split("state=").nth(1).unwrap().split('&').next().unwrap();
        let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
        let path = format!("/api/session/callback?code=c&state={state}");
        let back = send(&self.url, "GET", &path, &[("cookie", &cookie)], "");
        assert_eq!((back.0, back.header("location")), (303, format!("{}/", self.url)), "{}", back.2);
        let mut set = back.1.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        let set = set.rfind(|value| value.starts_with("tidemill-session=")).unwrap();
        set.split(';').next().unwrap().to_owned()
    }

    fn is_signed_in(&self, cookie: &str) -> bool {
        send(&self.url, "GET", "/api/pipeline/executions", &[("cookie", cookie)], "").0 == 200
    }

    /// Starts `tidemill login --browser`, with a program that records what address a browser gets. Returns the process and the
    /// address.
    fn begin_login(&self) -> (Child, String) {
        let programs = self.env.dir.path().join("programs");
        let opened: PathBuf = self.env.dir.path().join("opened");
        fs::create_dir_all(&programs).unwrap();
        let opener = programs.join("xdg-open");
        let script =
            format!("#!/bin/sh\nprintf '%s' \"$1\" > {0}.new && /bin/mv {0}.new {0}\n", opened.display());
        fs::write(&opener, script).unwrap();
        fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
        // That of an earlier login.
        let _ = fs::remove_file(&opened);
        let mut command = self.env.command(&["login", &self.url, "--browser", "--profile", "me"]);
        command.env("PATH", &programs).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let login = command.spawn().unwrap();
        let mut address = String::new();
        wait_until(|| {
            address = fs::read_to_string(&opened).unwrap_or_default();
            !address.is_empty()
        })
        .unwrap();
        (login, address)
    }
}

impl Drop for SignInFixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take().filter(|_| !thread::panicking()) {
            stop(server);
        }
    }
}

/// Returns the value of a parameter of an address.
fn parameter<'a>(address: &'a str, name: &str) -> &'a str {
    let query = address.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap()
}

#[test]
fn browser_login_makes_a_profile_and_logout_revokes_its_token() {
    let fixture = SignInFixture::new();
    let set = fixture.admin(&["roles", "set", "developer", "--group", "gitea:team"]);
    assert_eq!(text(&set.stdout), "group gitea:team is developer in all repositories\n", "{set:?}");
    let cookie = fixture.cookie();
    assert!(fixture.is_signed_in(&cookie));

    let (login, address) = fixture.begin_login();
    assert!(address.starts_with(&format!("{}/login?challenge=", fixture.url)), "{address}");
    let origin = ("origin", fixture.url.as_str());
    let headers =
        [("cookie", &*cookie), ("x-tidemill-request", "1"), origin, ("content-type", "application/json")];
    let body = json!({ "challenge": parameter(&address, "challenge") }).to_string();
    let created = send(&fixture.url, "POST", "/api/session/code", &headers, &body);
    assert_eq!(created.0, 201, "{}", created.2);
    let code: Value = serde_json::from_str(&created.2).unwrap();
    let listener = format!("http://127.0.0.1:{}", parameter(&address, "port"));
    let (code, state) = (code["code"].as_str().unwrap(), parameter(&address, "state"));
    assert_eq!(send(&listener, "GET", &format!("/?code={code}&state=other"), &[], "").0, 404);
    assert_eq!(send(&listener, "GET", &format!("/?code={code}&state={state}"), &[], "").0, 200);
    let output = finish(login);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains(&address), "{output:?}");

    let me = |args: &[&str]| fixture.env.tidemill(&[args, &["--profile", "me"]].concat());
    let status = me(&["status", "--format", "json"]);
    assert_eq!((status.status.code(), text(&status.stdout).trim()), (Some(0), "[]"), "{status:?}");
    let tokens = parsed(&fixture.admin(&["token", "list", "--format", "json"]));
    assert!(tokens[0]["name"].as_str().unwrap().starts_with("Alice on "), "{tokens}");
    let denied = me(&["roles", "list"]);
    assert!(text(&denied.stderr).contains("you have the role developer"), "{denied:?}");

    let sessions = parsed(&me(&["sessions", "list", "--format", "json"]));
    let id = sessions["sessions"][0]["id"].as_str().unwrap();
    let all = fixture.admin(&["sessions", "list"]);
    assert!(text(&all.stdout).contains(&format!("{id}  Alice (gitea:#7)  signed in ")), "{all:?}");
    let revoked = fixture.admin(&["sessions", "revoke", id, "--person", "gitea:#7"]);
    assert_eq!(text(&revoked.stdout), format!("ended session {id}\n"), "{revoked:?}");
    assert!(!fixture.is_signed_in(&cookie));
    let again = me(&["sessions", "revoke", id]);
    assert!(again.status.code() == Some(2) && text(&again.stderr).contains("no such session"), "{again:?}");

    let logout = me(&["logout"]);
    assert!(text(&logout.stdout).ends_with("; the token was revoked\n"), "{logout:?}");
    assert_eq!(parsed(&fixture.admin(&["token", "list", "--format", "json"])), json!([]));
}

#[test]
fn refused_sign_in_saves_nothing() {
    let fixture = SignInFixture::new();
    let (login, address) = fixture.begin_login();
    let listener = format!("http://127.0.0.1:{}", parameter(&address, "port"));
    let path = format!("/?error=denied&state={}", parameter(&address, "state"));
    assert_eq!(send(&listener, "GET", &path, &[], "").0, 200);
    let output = finish(login);
    assert!(text(&output.stderr).contains("refused in the browser"), "{output:?}");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!fixture.env.dir.path().join("config.toml").exists());

    // An invented code.
    let (login, address) = fixture.begin_login();
    let listener = format!("http://127.0.0.1:{}", parameter(&address, "port"));
    let path = format!("/?code=invented&state={}", parameter(&address, "state"));
    assert_eq!(send(&listener, "GET", &path, &[], "").0, 200);
    let output = finish(login);
    assert!(text(&output.stderr).contains("the code is not valid"), "{output:?}");
    assert!(!fixture.env.dir.path().join("config.toml").exists());
}

#[test]
fn roles_are_listed_changed_and_removed() {
    let fixture = SignInFixture::new();
    let stdout = |args: &[&str]| text(&fixture.admin(args).stdout);
    assert!(stdout(&["roles", "list"]).starts_with("no roles, so nobody"));
    let alice = ["--user", "gitea:Alice", "--repo", "git.example.org/team/*"];
    assert_eq!(
        stdout(&[&["roles", "set", "viewer"], &alice[..]].concat()),
        "gitea:alice is viewer in git.example.org/team/*\n"
    );
    stdout(&[&["roles", "set", "maintainer"], &alice[..]].concat());
    stdout(&["roles", "set", "viewer", "--everyone"]);
    let listed = stdout(&["roles", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(
        listed.contains("gitea:alice is maintainer in git.example.org/team/*  (set by admin, "),
        "{listed}"
    );
    assert!(listed.contains("everyone who signs in is viewer in all repositories"), "{listed}");
    let removed = stdout(&[&["roles", "remove"], &alice[..]].concat());
    assert!(removed.starts_with("gitea:Alice no longer has this role in"), "{removed}");
    for (args, message) in [
        (&[&["roles", "remove"], &alice[..]].concat()[..], "no rule gives gitea:Alice a role"),
        (&["roles", "set", "admin", "--everyone"], "need a user or a group"),
        (&["roles", "set", "viewer", "--user", "alice"], "does not say where the name is from"),
        (&["roles", "set", "viewer"], "required"),
        (&["roles", "set", "owner", "--everyone"], "unknown role `owner`"),
    ] {
        let output = fixture.admin(args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(message), "{output:?}");
    }
}

#[test]
fn server_without_a_provider_has_no_browser_login() {
    let env = TestEnv::new(ONE);
    let (server, url) = serve(&env, &env.dir.path().join("server"), "0");
    let output = env.tidemill(&["login", &url, "--browser"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("has no way to sign in with a browser"), "{output:?}");
    stop(server);
}

#[test]
fn server_rejects_unsafe_settings_of_providers() {
    let env = TestEnv::new(ONE);
    let file = |name: &str, content: &str| {
        let path = env.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, secret) = (file("empty", "\n"), file("secret", "s"));
    let oidc = |issuer: &'static str| ["--oidc-issuer", issuer, "--oidc-client-id", "id"];
    for (args, message) in [
        (oidc("http://id.example.org").to_vec(), "is not the address of a provider"),
        (
            [&oidc("https://id.example.org")[..], &["--public-url", "http://ci.example.org"]].concat(),
            "set --public-url to an https://",
        ),
        (
            [&oidc("https://id.example.org")[..], &["--oidc-client-secret-file", &empty]].concat(),
            "has no client secret",
        ),
        (
            [&oidc("https://id.example.org")[..], &["--oidc-client-secret-file", "/no/such"]].concat(),
            "cannot be read",
        ),
        (vec!["--oidc-issuer", "https://id.example.org"], "--oidc-client-id"),
        (vec!["--github-client-id", "id"], "--github-client-secret-file"),
        (vec!["--gitea-client-id", "id", "--gitea-client-secret-file", &secret], "--gitea-url"),
    ] {
        let output =
            env.tidemill(&[&["server", "--listen", "127.0.0.1:0", "--jobs", "0"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(message), "{message}: {output:?}");
    }
}
