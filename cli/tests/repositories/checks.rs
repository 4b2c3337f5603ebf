//! `check` and `plan` with `--server`: what the server sets for the repository counts as set.

use crate::{
    repositories::RepositoriesFixture,
    support::{json as printed, text},
};
use serde_json::json;
use std::fs;
use tidemill_core::api::path;

const GITLAB: &str = "build:\n  image: \"$CI_REGISTRY_IMAGE/tool:1\"\n  script:\n    \
                      - docker login -u \"$CI_REGISTRY_USER\" \"$CI_REGISTRY\"\n    \
                      - deploy \"$REGION\" \"$API_KEY\" \"$NOWHERE\"\n";

/// Returns the names of the variables about which the diagnostics in JSON are.
fn reported(diagnostics: &serde_json::Value) -> Vec<String> {
    let all = diagnostics.as_array().unwrap().iter();
    let names = ["CI_REGISTRY_IMAGE", "CI_REGISTRY_USER", "CI_REGISTRY", "REGION", "API_KEY", "NOWHERE"];
    let of = |message: &str| names.iter().find(|name| message.contains(&format!("${name}`")));
    all.filter_map(|one| of(one["message"].as_str().unwrap())).map(|name| (*name).to_owned()).collect()
}

#[test]
fn check_and_plan_know_what_a_named_server_sets() {
    let fixture = RepositoriesFixture::new();
    let file = fixture.dir("alpha").join(".gitlab-ci.yml");
    fs::write(&file, GITLAB).unwrap();
    let check = |more: &[&str]| {
        let args = [&["check", "--format", "json", "-f", ".gitlab-ci.yml"], more].concat();
        fixture.tidemill("alpha", &args)
    };
    // Without the flag it works without a network, although the environment names a server.
    let names = reported(&printed(&check(&[])));
    for name in ["CI_REGISTRY_USER", "CI_REGISTRY", "REGION", "API_KEY", "NOWHERE"] {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    fixture.succeed("alpha", &["variable", "set", "REGION", "north"]);
    let secret = json!({ "repo": super::ALPHA, "name": "API_KEY", "value": "hidden-value" });
    fixture.post(&fixture.api, path::SECRETS, &secret).unwrap();
    let login = json!({ "repo": super::ALPHA, "registry": "registry.example.org", "username": "ci", "password": "p" });
    fixture.post(&fixture.api, path::REGISTRIES, &login).unwrap();

    let with_server = check(&["--server", &fixture.url]);
    assert_eq!(with_server.status.code(), Some(0), "{with_server:?}");
    assert_eq!(reported(&printed(&with_server)), ["NOWHERE"]);
    let given = check(&["--server", &fixture.url, "-e", "NOWHERE=here"]);
    assert_eq!(printed(&given), json!([]));
    assert!(!text(&with_server.stdout).contains("hidden-value"), "{with_server:?}");
    let plan = ["plan", "--format", "json", "-f", ".gitlab-ci.yml", "--server", &fixture.url];
    let planned = printed(&fixture.tidemill("alpha", &plan));
    assert_eq!(planned["jobs"][0]["image"], "registry.example.org/team/alpha/tool:1", "{planned}");
    assert_ne!(fixture.tidemill("alpha", &plan[..5]).status.code(), Some(0), "the image has no registry");

    // Another repository has none of it; outside of a repository the question has no subject.
    let of_beta = fixture.dir("beta").join(".gitlab-ci.yml");
    fs::write(of_beta, GITLAB).unwrap();
    let args = ["check", "--format", "json", "-f", ".gitlab-ci.yml", "--server", &fixture.url];
    assert!(reported(&printed(&fixture.tidemill("beta", &args))).contains(&"REGION".to_owned()));
    let token = json!({ "name": "reader", "scopes": ["read"] });
    let reader = fixture.post(&fixture.api, path::TOKENS, &token).unwrap();
    let rejected = check(&["--server", &fixture.url, "--token", reader["token"].as_str().unwrap()]);
    assert_ne!(rejected.status.code(), Some(0), "{rejected:?}");
    assert!(text(&rejected.stderr).contains("run"), "{rejected:?}");
}
