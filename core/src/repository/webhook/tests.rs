#![allow(clippy::unwrap_used)]

use super::{
    Change, Event, Provider, PullRequestAction, PullRequestUpdate, WebhookError, json_body, sign,
};
use proptest::prelude::*;
use std::collections::HashMap;

type Set = HashMap<String, String>;

fn headers(of: &[(&str, &str)]) -> Set {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn verify(provider: Provider, secret: &[u8], set: &Set, body: &[u8]) -> Result<(), WebhookError> {
    provider.verify(secret, &|name| set.get(name).map(String::as_str), body)
}

fn read(provider: Provider, event: (&str, &str), body: &str) -> Result<Vec<Event>, WebhookError> {
    let set = headers(&[event]);
    let read = provider.parse(&|name| set.get(name).map(String::as_str), body.as_bytes());
    read.map(|delivery| delivery.events)
}

#[test]
fn signature_is_valid_only_for_its_body_and_secret() {
    // The example in GitHub's documentation.
    let secret = b"It's a Secret to Everybody";
    let known = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(sign(secret, b"Hello, World!"), known);
    for (provider, name, value) in [
        (Provider::Github, "x-hub-signature-256", format!("sha256={known}")),
        (Provider::Bitbucket, "x-hub-signature", format!("sha256={known}")),
        (Provider::Gitea, "x-gitea-signature", known.to_owned()),
        (Provider::Gitlab, "x-gitlab-token", "It's a Secret to Everybody".to_owned()),
    ] {
        let set = headers(&[(name, &value)]);
        assert_eq!(verify(provider, secret, &set, b"Hello, World!"), Ok(()), "{provider}");
        let wrong = |secret: &[u8], value: &str, body: &[u8]| {
            let error = verify(provider, secret, &headers(&[(name, value)]), body).unwrap_err();
            assert!(matches!(error, WebhookError::WrongSignature(_)), "{provider}: {error}");
        };
        wrong(b"another", &value, b"Hello, World!");
        wrong(b"", "", b"Hello, World!");
        wrong(secret, "", b"Hello, World!");
        wrong(secret, &value[..value.len() - 1], b"Hello, World!");
        wrong(secret, &format!("{value}0"), b"Hello, World!");
        wrong(secret, &"ä".repeat(32), b"Hello, World!");
        if provider != Provider::Gitlab {
            wrong(secret, &value, b"Hello, World?");
            wrong(secret, &value.replace("sha256=", "sha1="), b"Hello, World?");
        }
        assert!(matches!(verify(provider, secret, &Set::new(), b""), Err(WebhookError::MissingSignature(_))));
    }
}

#[test]
fn github_events_are_parsed() {
    let push = |name: &str, after: &str, head: &str| {
        let repository = r#"{"default_branch":"main","clone_url":"https://github.com/o/r.git"}"#;
        let body = format!(
            r#"{{"ref":"{name}","before":"{b}","after":"{after}","head_commit":{head},"pusher":{{"name":"jo"}},"repository":{repository}}}"#,
            b = "b".repeat(40)
        );
        read(Provider::Github, ("x-github-event", "push"), &body).unwrap().remove(0)
    };
    let (a, zero) = ("a".repeat(40), "0".repeat(40));
    let head = format!(r#"{{"id":"{a}"}}"#);
    let change = |name: &str, before: Option<String>| Change {
        name: name.into(),
        commit: a.clone(),
        before,
        by: Some("jo".into()),
    };
    assert_eq!(push("refs/heads/x/y", &a, &head), Event::Push(change("x/y", Some("b".repeat(40)))));
    assert_eq!(push("refs/tags/v1", &"c".repeat(40), &head), Event::Tag(change("v1", None)));
    assert_eq!(push("refs/heads/x", &zero, "null"), Event::Deleted("refs/heads/x".into()));
    assert!(matches!(push("refs/notes/x", &a, &head), Event::Ignored(_)));
    let request = |action: &str, head_repo: &str| {
        let body = format!(
            r#"{{"action":"{action}","repository":{{}},"sender":{{"login":"jo"}},"pull_request":{{"number":7,"title":"T","draft":true,"labels":[{{"name":"full ci"}},{{"name":"a,b"}}],
                "head":{{"ref":"topic","sha":"{a}","repo":{head_repo}}},"base":{{"ref":"main","sha":"{a}","repo":{{"id":1}}}}}}}}"#
        );
        read(Provider::Github, ("x-github-event", "pull_request"), &body).unwrap().remove(0)
    };
    let expected = PullRequestUpdate {
        number: 7,
        title: "T".into(),
        target_branch: "main".into(),
        branch: "topic".into(),
        commit: a.clone(),
        fetch_ref: "refs/pull/7/head".into(),
        from_fork: false,
        draft: true,
        labels: vec!["full ci".into(), "a b".into()],
        by: Some("jo".into()),
        action: PullRequestAction::Opened,
    };
    assert_eq!(request("opened", r#"{"id":1}"#), Event::PullRequest(Box::new(expected.clone())));
    for (repo, branch) in [(r#"{"id":2,"owner":{"login":"eve"}}"#, "eve:topic"), ("null", "fork:topic")] {
        let expected = PullRequestUpdate {
            from_fork: true,
            branch: branch.into(),
            action: PullRequestAction::Synchronized,
            ..expected.clone()
        };
        assert_eq!(request("synchronize", repo), Event::PullRequest(Box::new(expected)));
    }
    assert!(matches!(request("assigned", r#"{"id":1}"#), Event::Ignored(_)));
}

#[test]
fn invalid_refs_and_commits_are_rejected() {
    let body = |name: &str, after: &str| {
        format!(r#"{{"ref":"refs/heads/{name}","after":"{after}","repository":{{}}}}"#)
    };
    let ok = "a".repeat(40);
    for (name, after) in [
        ("--upload-pack=x", ok.as_str()),
        ("", &ok),
        ("a..b", &ok),
        ("a b", &ok),
        ("a:b\\u0000", &ok),
        (&"a".repeat(300), &ok),
        ("main", "-x"),
        ("main", "abc"),
        ("main", &"a".repeat(65)),
    ] {
        let read = read(Provider::Github, ("x-github-event", "push"), &body(name, after));
        assert!(matches!(read, Err(WebhookError::Malformed { .. })), "{name} {after}: {read:?}");
    }
    assert!(read(Provider::Github, ("x-github-event", "push"), &body("main", &ok)).is_ok());
}

#[test]
fn form_holds_json_in_field() {
    let form = b"a=1&payload=%7B%22ref%22%3A+%22x%22%7D&b=2";
    let kind = Some("application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(&*json_body(kind, form), br#"{"ref": "x"}"#);
    assert_eq!(&*json_body(Some("application/json"), b"{}"), b"{}");
    assert_eq!(&*json_body(kind, b"payload=%zz%"), b"??");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{"(ref|push|pull_request|object_attributes|pullrequest|repository)": ?[\{\["0-9a-z,:\]\}]{0,60}\}"#
                .prop_map(String::into_bytes),
        ],
        event in "push|pull_request|merge_group|release|issue_comment|Push Hook|Merge Request Hook|Note Hook|Release Hook|repo:push|pullrequest:created|pullrequest:comment_created|[ -~]{0,20}",
        signature in "(sha256=)?[0-9a-zA-Zä]{0,70}",
        form in any::<bool>(),
    ) {
        let kind = form.then_some("application/x-www-form-urlencoded");
        let body = json_body(kind, &body);
        let get = |name: &str| Some(if name.contains("event") { event.as_str() } else { signature.as_str() });
        for provider in Provider::ALL {
            let _ = provider.repository_names(&body);
            let _ = provider.parse(&get, &body);
            prop_assert!(provider.verify(b"secret", &get, &body).is_err() || signature == "secret");
        }
    }
}
