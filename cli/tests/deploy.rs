//! `tidemill deploy` and `tidemill destroy` against an emulator of AWS, in an account of its own.
#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

struct Account {
    dir: tempfile::TempDir,
    endpoint: String,
    id: String,
}

impl Account {
    /// An account on the emulator, and stand-ins for the functions: programs that nobody invokes here.
    fn new() -> Option<Self> {
        let Ok(endpoint) = std::env::var("TIDEMILL_TEST_AWS_ENDPOINT") else {
            eprintln!("skipped: TIDEMILL_TEST_AWS_ENDPOINT names no emulator; scripts/test starts one");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("functions")).unwrap();
        for name in ["api", "sweep", "dead_letter", "scale", "notify"] {
            fs::copy("/bin/true", dir.path().join("functions").join(name)).unwrap();
        }
        let id = format!("{:012}", uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000_000_000);
        Some(Self { dir, endpoint, id })
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    fn run(&self, words: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(words)
            .current_dir(self.dir.path())
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("TIDEMILL_CONFIG", self.config())
            .env("TIDEMILL_DATA_DIR", self.dir.path().join("data"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        eprintln!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What the Parameter Store answers; the emulator knows the account by the credential and checks no signature.
    fn parameters(&self, action: &str, body: &str) -> String {
        let address = self.endpoint.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSSM.{action}\r\n\
             content-type: application/x-amz-json-1.1\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={}/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, Signature=0\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.id,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn deploy(&self, more: &[&str]) -> Output {
        // The emulator does not calculate what the alarms do.
        let off = ["--parameter", "Alarms=off", "--parameter", "Dashboard=off"];
        self.run(&[&["deploy", "--functions", "functions"], &off[..], more].concat())
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn deployment_is_created_updated_and_deleted() {
    let Some(account) = Account::new() else { return };
    let asked = account.deploy(&[]);
    assert_eq!(asked.status.code(), Some(2), "there is nobody to ask: {}", words(&asked));
    assert!(words(&asked).contains("--yes"), "{}", words(&asked));

    let first = account.deploy(&["--yes"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    assert!(text(&first).contains("+ Table (AWS::DynamoDB::Table)"), "{}", text(&first));
    let token = text(&first).split("shown only now:  ").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert!(token.len() >= 43);
    let kept = fs::read_to_string(account.config()).unwrap();
    assert!(kept.contains(&token), "the token is in the profile");

    let again = account.deploy(&["--yes"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again).contains("no changes"), "{}", text(&again));
    assert!(!text(&again).contains("admin token"), "{}", text(&again));

    let shown = account.deploy(&["--dry-run", "--record-days", "30"]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(text(&shown).contains("Function"), "{}", text(&shown));
    let changed = account.deploy(&["--yes", "--record-days", "30", "--rotate-token", "admin"]);
    assert_eq!(changed.status.code(), Some(0), "{}", text(&changed));
    assert!(text(&changed).contains("~ ApiFunction"), "{}", text(&changed));
    assert!(text(&changed).contains("admin token") && !text(&changed).contains(&token), "{}", text(&changed));

    let refused = account.run(&["destroy"]);
    assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
    assert!(text(&refused).contains("(kept)"), "{}", text(&refused));
    let gone = account.run(&["destroy", "--yes"]);
    assert_eq!(gone.status.code(), Some(0), "{}", text(&gone));
    assert!(text(&gone).contains("; kept: "), "{}", text(&gone));
    assert_eq!(account.run(&["destroy", "--yes"]).status.code(), Some(2), "there is none any more");
}

#[test]
fn destroy_with_all_data_deletes_everything() {
    let Some(account) = Account::new() else { return };
    assert_eq!(account.deploy(&["--yes", "--name", "other"]).status.code(), Some(0));
    let key = r#"{ "Name": "/tidemill/other/secret-key", "Value": "k", "Type": "SecureString" }"#;
    let made = account.parameters("PutParameter", key);
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    let gone = account.run(&["destroy", "--name", "other", "--all-data", "--yes"]);
    assert_eq!(gone.status.code(), Some(0), "{}", words(&gone));
    assert!(text(&gone).contains("and its data"), "{}", text(&gone));
    let key = account.parameters("GetParameter", r#"{ "Name": "/tidemill/other/secret-key" }"#);
    assert!(key.contains("ParameterNotFound"), "{key}");
}

#[test]
fn invalid_deployment_is_rejected_before_any_change() {
    let Some(account) = Account::new() else { return };
    fs::remove_file(account.dir.path().join("functions/scale")).unwrap();
    let output = account.deploy(&["--yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output).contains("lacks scale"), "{}", words(&output));
    let output = account.deploy(&["--yes", "--parameter", "NoSuch=1"]);
    assert_eq!(output.status.code(), Some(2));
}
