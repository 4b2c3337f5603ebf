//! `tidemill deploy` and `tidemill destroy` on an AWS emulator, in a separate account per test.
#![cfg(feature = "aws")]
#![allow(clippy::print_stderr)]

use percent_encoding::NON_ALPHANUMERIC;
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
    /// Creates an account on the emulator, and dummy binaries for the functions, which these tests do not invoke.
    fn new() -> Option<Self> {
        let Ok(endpoint) = std::env::var("TIDEMILL_TEST_AWS_ENDPOINT") else {
            eprintln!("skipped: TIDEMILL_TEST_AWS_ENDPOINT is not set; scripts/test starts an emulator");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("functions")).unwrap();
        for name in ["api", "sweep", "authorize", "scale", "notify"] {
            fs::copy("/bin/true", dir.path().join("functions").join(name)).unwrap();
        }
        let id = format!("{:012}", uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000_000_000);
        Some(Self { dir, endpoint, id })
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("TIDEMILL_CONFIG", self.config())
            .env("TIDEMILL_DATA_DIR", self.dir.path().join("data"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        eprintln!("{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Calls IAM or the token service, and returns the reply.
    fn call_form(&self, service: &str, fields: &[(&str, &str)]) -> String {
        let encoded = fields.iter().map(|(name, value)| {
            format!("{name}={}", percent_encoding::utf8_percent_encode(value, NON_ALPHANUMERIC))
        });
        let body = encoded.collect::<Vec<_>>().join("&");
        let address = self.endpoint.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.id,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        reply
    }

    /// Calls the Parameter Store. The emulator identifies the account by the credential and does not check signatures.
    fn call_ssm(&self, action: &str, body: &str) -> String {
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

    /// Returns the settings of a function, as its role and code would see them.
    fn function_settings(&self, name: &str) -> String {
        let address = self.endpoint.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "GET /2015-03-31/functions/{name}/configuration HTTP/1.1\r\nhost: {address}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/20260101/us-east-1/lambda/aws4_request, \
             SignedHeaders=host, Signature=0\r\nconnection: close\r\n\r\n",
            self.id
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn deploy(&self, extra: &[&str]) -> Output {
        // The emulator does not support the expressions of the alarms.
        let off = ["--parameter", "Alarms=off", "--parameter", "Dashboard=off"];
        self.run(&[&["deploy", "--functions", "functions"], &off[..], extra].concat())
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn deployment_is_created_updated_and_deleted() {
    let Some(account) = Account::new() else { return };
    let preview = account.deploy(&["--dry-run"]);
    assert_eq!(preview.status.code(), Some(0), "{}", stderr(&preview));
    assert!(stdout(&preview).contains("+ Table (AWS::DynamoDB::Table)"), "{}", stdout(&preview));
    assert!(!account.config().exists(), "no token is stored");
    let absent = account.run(&["destroy", "--yes"]);
    assert!(stderr(&absent).contains("no stack tidemill"), "{}", stderr(&absent));
    let unconfirmed = account.deploy(&[]);
    assert_eq!(
        unconfirmed.status.code(),
        Some(2),
        "there is no terminal for the prompt: {}",
        stderr(&unconfirmed)
    );
    assert!(stderr(&unconfirmed).contains("--yes"), "{}", stderr(&unconfirmed));

    let first = account.deploy(&["--yes"]);
    assert_eq!(first.status.code(), Some(0), "{}", stdout(&first));
    assert!(stdout(&first).contains("+ Table (AWS::DynamoDB::Table)"), "{}", stdout(&first));
    let token = stdout(&first).split("shown only now:  ").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert!(token.len() >= 43);
    let config = fs::read_to_string(account.config()).unwrap();
    assert!(config.contains(&token), "the token is in the profile");
    let endpoint = account.endpoint.trim_end_matches('/');
    assert!(config.contains(endpoint) && !config.contains("amazonaws.com"), "{config}");
    assert!(!stdout(&first).contains("amazonaws.com"), "{}", stdout(&first));

    let again = account.deploy(&["--yes"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(stdout(&again).contains("no changes"), "{}", stdout(&again));
    assert!(!stdout(&again).contains("admin token"), "{}", stdout(&again));

    let preview = account.deploy(&["--dry-run", "--record-days", "30"]);
    assert_eq!(preview.status.code(), Some(0));
    assert!(stdout(&preview).contains("Function"), "{}", stdout(&preview));
    let unchanged = account.deploy(&["--dry-run"]);
    assert!(stdout(&unchanged).contains("no changes"), "{}", stdout(&unchanged));
    let changed = account.deploy(&["--yes", "--record-days", "30", "--rotate-token", "admin"]);
    assert_eq!(changed.status.code(), Some(0), "{}", stdout(&changed));
    assert!(stdout(&changed).contains("~ ApiFunction"), "{}", stdout(&changed));
    assert!(
        stdout(&changed).contains("admin token") && !stdout(&changed).contains(&token),
        "{}",
        stdout(&changed)
    );

    let unconfirmed = account.run(&["destroy"]);
    assert_eq!(unconfirmed.status.code(), Some(2), "{}", stderr(&unconfirmed));
    assert!(stdout(&unconfirmed).contains("(kept)"), "{}", stdout(&unconfirmed));
    let destroyed = account.run(&["destroy", "--yes"]);
    assert_eq!(destroyed.status.code(), Some(0), "{}", stdout(&destroyed));
    assert!(stdout(&destroyed).contains("; kept: "), "{}", stdout(&destroyed));
    assert_eq!(account.run(&["destroy", "--yes"]).status.code(), Some(2), "the stack no longer exists");
}

#[test]
fn destroy_with_all_data_deletes_everything() {
    let Some(account) = Account::new() else { return };
    assert_eq!(account.deploy(&["--yes", "--name", "other"]).status.code(), Some(0));
    let key = r#"{ "Name": "/tidemill/other/secret-key", "Value": "k", "Type": "SecureString" }"#;
    let created = account.call_ssm("PutParameter", key);
    assert!(created.starts_with("HTTP/1.1 200"), "{created}");
    let destroyed = account.run(&["destroy", "--name", "other", "--all-data", "--yes"]);
    assert_eq!(destroyed.status.code(), Some(0), "{}", stderr(&destroyed));
    assert!(stdout(&destroyed).contains("and its data"), "{}", stdout(&destroyed));
    let key = account.call_ssm("GetParameter", r#"{ "Name": "/tidemill/other/secret-key" }"#);
    assert!(key.contains("ParameterNotFound"), "{key}");
}

#[test]
fn invalid_deployment_is_rejected_before_any_change() {
    let Some(account) = Account::new() else { return };
    fs::remove_file(account.dir.path().join("functions/scale")).unwrap();
    let output = account.deploy(&["--yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("lacks scale"), "{}", stderr(&output));
    let output = account.deploy(&["--yes", "--parameter", "NoSuch=1"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn deployment_adopts_the_table_and_bucket_that_an_earlier_one_left() {
    let Some(account) = Account::new() else { return };
    let nothing = account.deploy(&["--yes", "--adopt"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", stdout(&nothing));
    assert!(stderr(&nothing).contains("no table of an earlier deployment"), "{}", stderr(&nothing));
    assert_eq!(account.deploy(&["--yes"]).status.code(), Some(0));
    let live = account.deploy(&["--yes", "--adopt"]);
    assert_eq!(live.status.code(), Some(2), "{}", stdout(&live));
    assert!(stderr(&live).contains("tidemill exists"), "{}", stderr(&live));
    let destroyed = account.run(&["destroy", "--yes"]);
    let kept = stdout(&destroyed).split("; kept: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let kept: Vec<&str> = kept.split(", ").collect();
    assert_eq!(kept.len(), 2, "{kept:?}");

    let adopted = account.deploy(&["--yes", "--adopt"]);
    assert_eq!(adopted.status.code(), Some(0), "{}", stderr(&adopted));
    let settings = account.function_settings("tidemill-api");
    for name in kept {
        assert!(stderr(&adopted).contains(name), "{}", stderr(&adopted));
        assert!(settings.contains(&format!("\"{name}\"")), "{name}: {settings}");
    }
}

#[test]
fn policy_is_printed_without_an_account() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args([
            "deploy",
            "--print-policy",
            "--name",
            "ci",
            "--permissions-boundary",
            "arn:aws:iam::1:policy/b",
        ])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let policy: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    assert!(stdout(&output).contains("role/ci-*") && stdout(&output).contains("policy/b"), "{policy}");
}

#[test]
fn permissions_are_checked_before_any_change() {
    let Some(account) = Account::new() else { return };
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
    let version = ("Version", "2010-05-08");
    let role = ("RoleName", "Deployer");
    account.call_form("iam", &[("Action", "CreateRole"), version, role, ("AssumeRolePolicyDocument", trust)]);
    let arn = format!("arn:aws:iam::{}:role/Deployer", account.id);
    let session = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "session"),
    ];
    let reply = account.call_form("sts", &session);
    let part = |name: &str| reply.split(name).nth(1).unwrap()[1..].split('<').next().unwrap().to_owned();
    let credentials = [
        ("AWS_ACCESS_KEY_ID", part("<AccessKeyId")),
        ("AWS_SECRET_ACCESS_KEY", part("<SecretAccessKey")),
        ("AWS_SESSION_TOKEN", part("<SessionToken")),
    ];
    let preview = || {
        let mut command = account.command(&["deploy", "--functions", "functions", "--dry-run"]);
        command.envs(credentials.clone()).output().unwrap()
    };
    // Who may not even look for the stack learns that from the first call.
    let looks = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":["cloudformation:DescribeStacks","iam:SimulatePrincipalPolicy"]}]}"#;
    let document = ("PolicyDocument", looks);
    account.call_form("iam", &[("Action", "PutRolePolicy"), version, role, ("PolicyName", "look"), document]);
    let denied = preview();
    assert_eq!(denied.status.code(), Some(2), "{}", stderr(&denied));
    let message = stderr(&denied);
    assert!(message.contains("role/Deployer") || message.contains("assumed-role/Deployer"), "{message}");
    assert!(message.contains("lambda:CreateFunction") && message.contains("iam:CreateRole"), "{message}");

    let policy = stdout(&account.run(&["deploy", "--print-policy"]));
    let document = ("PolicyDocument", policy.as_str());
    account
        .call_form("iam", &[("Action", "PutRolePolicy"), version, role, ("PolicyName", "deploy"), document]);
    let allowed = preview();
    assert_eq!(allowed.status.code(), Some(0), "{}", stderr(&allowed));
    assert!(stdout(&allowed).contains("+ Table (AWS::DynamoDB::Table)"), "{}", stdout(&allowed));
}
