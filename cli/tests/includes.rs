//! Files that the commands of this machine include from elsewhere: from a git server, the web and a directory of templates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// That of the user `ci` with the password `secret-of-ci`.
const AUTHORIZATION: &str = "Basic Y2k6c2VjcmV0LW9mLWNp";

/// A repository `app` whose `origin` is on a server of files with TLS, which has the repository `group/lib`.
struct Bench {
    dir: tempfile::TempDir,
    port: u16,
    lib: String,
    runtime: Option<tokio::runtime::Runtime>,
}

const TEMPLATE: &str =
    "spec:\n  inputs:\n    name: {default: built}\n---\n\"$[[ inputs.name ]]\": {image: x, script: x}\n";

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (site, work) = (dir.path().join("site"), dir.path().join("lib"));
        fs::create_dir_all(site.join("group")).unwrap();
        fs::create_dir_all(work.join("templates")).unwrap();
        fs::write(site.join("remote.yml"), "far: {image: x, script: x}\n").unwrap();
        fs::write(work.join("ci.yml"), "include: inner.yml\nlib: {image: x, script: x}\n").unwrap();
        fs::write(work.join("inner.yml"), "inner: {image: x, script: x}\n").unwrap();
        fs::write(work.join("templates/build.yml"), TEMPLATE).unwrap();
        fs::write(
            work.join("native.yml"),
            "inputs: { name: }\njobs: { \"$[[ inputs.name ]]\": { image: x, script: x } }\n",
        )
        .unwrap();
        git(&work, &["init", "-q"]);
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", "one"]);
        git(&work, &["tag", "1.2.0"]);
        let bare = site.join("group/lib.git");
        git(dir.path(), &["clone", "-q", "--bare", "lib", &bare.to_string_lossy()]);
        git(&bare, &["update-server-info"]);
        let lib = git(&work, &["rev-parse", "HEAD"]);
        let (port, runtime) = serve(dir.path(), &site);
        let app = dir.path().join("app");
        fs::create_dir(&app).unwrap();
        git(&app, &["init", "-q"]);
        git(&app, &["remote", "add", "origin", &format!("https://localhost:{port}/group/app.git")]);
        Self { dir, port, lib, runtime: Some(runtime) }
    }

    fn app(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.app().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("PORT", &self.port.to_string())).unwrap();
    }

    fn tidemill(&self, args: &[&str]) -> (i32, String, String) {
        let certificate = self.dir.path().join("certificate.pem");
        let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .current_dir(self.app())
            .env("TIDEMILL_DATA_DIR", self.dir.path().join("data"))
            .env("TIDEMILL_CONFIG", self.dir.path().join("config.toml"))
            .env("HOME", self.dir.path())
            .env("SSL_CERT_FILE", &certificate)
            .env("GIT_SSL_CAINFO", &certificate)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("GIT_CONFIG_GLOBAL")
            .env_remove("TIDEMILL_WORKER_CONFIG")
            .env_remove("XDG_CONFIG_HOME")
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// Serves the files below `site` with TLS, and those of `private` with the authorization [`AUTHORIZATION`] only; the certificate is
/// `certificate.pem` in `dir`.
fn serve(dir: &Path, site: &Path) -> (u16, tokio::runtime::Runtime) {
    let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let acceptor = crate::tls::self_signed(&dir.join("certificate.pem"), &parameters);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let site = site.to_owned();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, site) = (acceptor.clone(), site.clone());
            tokio::spawn(async move {
                let Ok(client) = acceptor.accept(client).await else { return };
                let mut client = BufReader::new(client);
                let mut first = String::new();
                let _ = client.read_line(&mut first).await;
                let mut line = String::new();
                let mut is_authorized = false;
                while client.read_line(&mut line).await.is_ok_and(|_| line.trim() != "") {
                    is_authorized |= line.split_once(": ").is_some_and(|(name, value)| {
                        name.eq_ignore_ascii_case("authorization") && value.trim() == AUTHORIZATION
                    });
                    line.clear();
                }
                let target = first.split(' ').nth(1).unwrap_or_default();
                let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
                let (status, body) = match fs::read(site.join(path)) {
                    _ if path.starts_with("private/") && !is_authorized => ("401 Unauthorized", Vec::new()),
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    body.len()
                );
                let _ = client.write_all(&[head.as_bytes(), &body].concat()).await;
                let _ = client.shutdown().await;
            });
        }
    });
    (port, runtime)
}

const GITLAB: &str = "include:
  - {project: group/lib, ref: 1.2.0, file: ci.yml}
  - {component: \"$CI_SERVER_FQDN/group/lib/build@~latest\", inputs: {name: made}}
  - https://localhost:PORT/remote.yml
  - {template: Go.gitlab-ci.yml}
own: {image: x, script: x}
";

#[test]
fn files_from_elsewhere_are_included_and_used_again_without_a_connection() {
    let mut bench = Bench::new();
    bench.write(".gitlab-ci.yml", GITLAB);
    let templates = bench.dir.path().join("templates");
    fs::create_dir(&templates).unwrap();
    fs::write(templates.join("Go.gitlab-ci.yml"), "go: {image: x, script: x}\n").unwrap();
    let templates = templates.to_string_lossy().into_owned();
    let (code, stdout, stderr) = bench.tidemill(&["plan", "--templates", &templates]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    for job in ["inner", "lib", "made", "far", "go", "own"] {
        assert!(stdout.contains(&format!("  {job} ")), "{job}: {stdout}");
    }
    let (code, stdout, stderr) = bench.tidemill(&["import", "--templates", &templates]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let native = fs::read_to_string(bench.app().join(".pipelines/ci.yml")).unwrap();
    assert!(native.contains("made:") && native.contains("far:"), "{native}");
    fs::remove_dir_all(bench.app().join(".pipelines")).unwrap();
    // Without the server, what was fetched is used if that is asked for.
    bench.runtime.take().unwrap().shutdown_background();
    let offline = bench.tidemill(&["check", "--offline", "--templates", &templates]);
    assert_eq!(offline.0, 0, "{offline:?}");
    let (code, stdout, _) = bench.tidemill(&["check", "--templates", &templates]);
    assert_eq!(code, 2, "{stdout}");
    assert!(stdout.contains("`group/lib` cannot be read") && stdout.contains("--offline"), "{stdout}");
}

#[test]
fn private_project_is_included_with_the_users_own_git_settings() {
    let bench = Bench::new();
    let (site, lib) = (bench.dir.path().join("site"), bench.dir.path().join("lib"));
    fs::create_dir(site.join("private")).unwrap();
    let bare = site.join("private/lib.git");
    git(bench.dir.path(), &["clone", "-q", "--bare", &lib.to_string_lossy(), &bare.to_string_lossy()]);
    git(&bare, &["update-server-info"]);
    bench.write(
        ".gitlab-ci.yml",
        "include: {project: private/lib, ref: 1.2.0, file: ci.yml}\nown: {image: x, script: x}\n",
    );
    bench.write(
        ".pipelines/ci.yml",
        "name: top\ninclude: { git: 'https://localhost:PORT/private/lib.git', file: native.yml, with: { name: made } }\n",
    );
    let files = [(".gitlab-ci.yml", "lib"), (".pipelines/ci.yml", "made")];
    for (file, _) in files {
        let (code, stdout, _) = bench.tidemill(&["check", "-f", file]);
        assert_eq!((code, stdout.matches("error[").count()), (2, 1), "{file}: {stdout}");
        assert!(stdout.contains("cannot be read"), "{file}: {stdout}");
    }
    let helper = "[credential]\n\thelper = \"!f() { echo username=ci; echo password=secret-of-ci; }; f\"\n";
    fs::write(bench.dir.path().join(".gitconfig"), helper).unwrap();
    for (file, job) in files {
        let (code, stdout, stderr) = bench.tidemill(&["plan", "-f", file]);
        assert!(code == 0 && stdout.contains(&format!("  {job} ")), "{file}: {stdout}{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("secret-of-ci"), "{stdout}{stderr}");
    }
}

#[test]
fn native_include_of_a_repository_has_inputs() {
    let bench = Bench::new();
    let text = "name: top\ninclude: { git: 'https://localhost:PORT/group/lib.git', file: native.yml, with: { name: made } }\n";
    bench.write(".pipelines/ci.yml", text);
    let (code, stdout, stderr) = bench.tidemill(&["plan"]);
    assert!(code == 0 && stdout.contains("  made "), "{stdout}{stderr}");
    bench.write(".pipelines/ci.yml", &text.replace(", with: { name: made }", ""));
    let (code, stdout, _) = bench.tidemill(&["check"]);
    assert!(code == 2 && stdout.contains("the input `name` has no default"), "{stdout}");
    // A full hash needs no refs.
    bench.write(".pipelines/ci.yml", &text.replace("file:", &format!("ref: '{}', file:", bench.lib)));
    assert_eq!(bench.tidemill(&["check"]).0, 0);
}

#[test]
fn failed_include_is_one_error() {
    let bench = Bench::new();
    for (include, message) in [
        ("{project: group/gone, file: a.yml}", "`group/gone` cannot be read"),
        ("{project: group/lib, ref: v9, file: ci.yml}", "has no branch, tag or version `v9`"),
        ("{remote: 'https://localhost:PORT/gone.yml'}", "the server replied 404"),
        ("{template: Gone.yml}", "there is no directory of templates on this machine"),
    ] {
        bench.write(".gitlab-ci.yml", &format!("include: [{include}]\nj: {{extends: .gone}}\n"));
        let (code, stdout, _) = bench.tidemill(&["check", "--format", "json"]);
        let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, found.as_array().unwrap().len()), (2, 1), "{include}: {found:#}");
        assert!(found[0]["message"].as_str().unwrap().contains(message), "{include}: {found:#}");
        assert!(found[0]["help"].is_string(), "{found:#}");
    }
    bench.write(".gitlab-ci.yml", GITLAB);
    let (code, stdout, _) = bench.tidemill(&["check", "--offline", "--format", "json"]);
    assert!(code == 2 && stdout.contains("it is not in the cache"), "{stdout}");
}
