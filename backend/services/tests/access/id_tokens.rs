//! ID tokens of jobs: what they claim, and that others can verify them with the published keys.

use super::server::{BOOT, Server, text};
use axum::http::StatusCode;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::process::Command;
use tidemill_core::api::path;

const PIPELINE: &str = "
name: release
jobs:
  plain: { image: i, script: [a] }
  deploy:
    image: i
    needs: [plain]
    script: [b]
    timeout: 10m
    environment: production
    variables: { VAULT: vault.example.org }
    id_tokens:
      VAULT_TOKEN: { aud: 'https://${VAULT}' }
      CLOUD_TOKEN: { aud: [sts.example.com, other] }
";
const ISSUER: &str = "https://ci.example.org/tidemill/api/oidc";
const DAY_MS: i64 = 86_400_000;

fn server() -> Server {
    let server = Server::start();
    server.services.set_issuer_url("https://ci.example.org/tidemill/");
    server
}

/// Runs the pipeline on a branch, and returns the assignment of its last job.
async fn assignment(server: &Server) -> Value {
    let body = json!({
        "pipeline": PIPELINE, "repo": "https://git.example.org/team/app.git", "branch": "main", "commit": "0123456789",
        "source": { "kind": "none" }, "force": true, "trigger": "push",
    });
    server.ok(BOOT, "POST", path::EXECUTE, body).await;
    let worker = json!({ "worker": { "id": uuid::Uuid::now_v7(), "name": "w" } });
    let plain = server.ok(BOOT, "POST", path::JOB_EXECUTE, worker.clone()).await["assignment"].clone();
    assert_eq!(plain["extras"]["secrets"], Value::Null, "it names no token");
    let end = json!({
        "job_id": plain["preparation"]["job_id"], "lease": plain["lease"]["token"], "end": { "failure": null, "exit_code": 0 },
    });
    server.ok(BOOT, "POST", path::JOB_STATUS, end).await;
    server.ok(BOOT, "POST", path::JOB_EXECUTE, worker).await["assignment"].clone()
}

fn token(assignment: &Value, variable: &str) -> String {
    let secrets = assignment["extras"]["secrets"].as_array().unwrap();
    let found = secrets.iter().find(|secret| secret["variable"] == variable).unwrap();
    assert_ne!(found["unmasked"], true, "it is masked in logs");
    text(&found["value"])
}

fn part(token: &str, at: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

async fn published(server: &Server) -> Vec<Value> {
    let reply = server.call(None, "GET", path::OIDC_KEYS, Value::Null).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["cache-control"], "public, max-age=300");
    reply.body["keys"].as_array().unwrap().clone()
}

/// Returns an unsigned integer of 32 bytes in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let rest: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let padding = usize::from(rest.first().is_none_or(|byte| *byte >= 0x80));
    [&[2, u8::try_from(rest.len() + padding).unwrap()][..], &vec![0; padding], &rest].concat()
}

/// Verifies a token with OpenSSL and one of the published keys, as others do.
fn is_valid(token: &str, keys: &[Value]) -> bool {
    let header = part(token, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let Some(key) = keys.iter().find(|key| key["kid"] == header["kid"]) else { return false };
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"], &key["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("sig"), &json!("ES256"))
    );
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(text(&key[name])).unwrap();
    // SubjectPublicKeyInfo of an uncompressed point of P-256.
    let head = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let head: Vec<u8> =
        (0..head.len()).step_by(2).map(|at| u8::from_str_radix(&head[at..at + 2], 16).unwrap()).collect();
    let spki = STANDARD.encode([head, coordinate("x"), coordinate("y")].concat());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(signature.len(), 64);
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &spki[..64], &spki[64..]);
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-verify"]).arg(file("key.pem", pem.as_bytes()));
    openssl.arg("-signature").arg(file("signature", &der)).arg(file("signed", signed.as_bytes()));
    let output = openssl.output().expect("this test needs the command `openssl`");
    output.status.success() && output.stdout.starts_with(b"Verified OK")
}

#[tokio::test]
async fn id_token_is_verified_with_published_keys() {
    let server = server();
    let reply = server.call(None, "GET", path::OIDC_CONFIGURATION, Value::Null).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body["issuer"], ISSUER);
    assert_eq!(reply.body["jwks_uri"], format!("{ISSUER}/jwks"));
    assert_eq!(
        format!("{ISSUER}/.well-known/openid-configuration"),
        format!("https://ci.example.org/tidemill{}", path::OIDC_CONFIGURATION)
    );

    let assignment = assignment(&server).await;
    let [vault, cloud] = ["VAULT_TOKEN", "CLOUD_TOKEN"].map(|variable| token(&assignment, variable));
    let keys = published(&server).await;
    assert!(is_valid(&vault, &keys) && is_valid(&cloud, &keys));
    let claims = part(&vault, 1);
    let job = &assignment["preparation"];
    for (name, value) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("repo:git.example.org/team/app:event:manual:ref_type:branch:ref:main")),
        ("aud", json!("https://vault.example.org")),
        ("repository", json!("git.example.org/team/app")),
        ("ref", json!("main")),
        ("ref_type", json!("branch")),
        ("sha", json!("0123456789")),
        // The request only says that it was a push.
        ("event", json!("manual")),
        ("pipeline", json!("release")),
        ("job_name", json!("deploy")),
        ("environment", json!("production")),
        ("execution_id", job["execution_id"].clone()),
        ("job_id", job["job_id"].clone()),
    ] {
        assert_eq!(claims[name], value, "{name}: {claims}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 10 * 60 + 300);
    assert_eq!(part(&cloud, 1)["aud"], json!(["sts.example.com", "other"]));
    assert_ne!(part(&cloud, 1)["jti"], claims["jti"]);

    // A changed claim, and a key that is not the server's.
    let forged = claims.to_string().replace("production", "staging");
    let (head, signature) = (vault.split('.').next().unwrap(), vault.rsplit('.').next().unwrap());
    assert!(!is_valid(&format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(forged)), &keys));
    let mut others = keys.clone();
    (others[0]["x"], others[0]["y"]) = (keys[0]["y"].clone(), keys[0]["x"].clone());
    assert!(!is_valid(&vault, &others));
    let state = server.state().await.to_string();
    assert!(!state.contains(vault.rsplit('.').next().unwrap()), "it is recorded nowhere");
}

#[tokio::test]
async fn signing_keys_rotate_without_an_invalid_token() {
    let server = server();
    let first = token(&assignment(&server).await, "VAULT_TOKEN");
    let kid = |token: &str| part(token, 0)["kid"].clone();
    // The clock shows the 81st day of a period of 90.
    server.clock.advance(9 * DAY_MS);
    let second = token(&assignment(&server).await, "VAULT_TOKEN");
    assert_ne!(kid(&first), kid(&second));
    let keys = published(&server).await;
    assert_eq!(keys.len(), 2);
    assert!(is_valid(&first, &keys) && is_valid(&second, &keys));
    server.clock.advance(89 * DAY_MS);
    let same = token(&assignment(&server).await, "VAULT_TOKEN");
    assert_eq!(kid(&same), kid(&second));
    server.clock.advance(3 * DAY_MS);
    let third = token(&assignment(&server).await, "VAULT_TOKEN");
    let keys = published(&server).await;
    assert!(!is_valid(&first, &keys) && is_valid(&third, &keys), "{keys:?}");
    assert!(keys.iter().any(|key| key["kid"] == kid(&third)));
}

#[tokio::test]
async fn server_without_public_address_issues_no_id_tokens() {
    let server = Server::start();
    for path in [path::OIDC_CONFIGURATION, path::OIDC_KEYS] {
        let reply = server.call(None, "GET", path, Value::Null).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}: {}", reply.body);
    }
}
