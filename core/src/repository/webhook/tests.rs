#![allow(clippy::unwrap_used)]

use super::{
    Change, Event, MAX_COMMENT_LEN, MergeGroup, Provider, PullRequestAction, PullRequestComment,
    PullRequestUpdate, Release, RerunRequest, WebhookError, json_body, sign,
};
use proptest::prelude::*;
use serde_json::json;
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

/// Returns the only event of a delivery.
fn event_of(provider: Provider, event: &str, body: &serde_json::Value) -> Event {
    let header = match provider {
        Provider::Github => "x-github-event",
        Provider::Gitlab => "x-gitlab-event",
        Provider::Gitea => "x-gitea-event",
        Provider::Bitbucket => "x-event-key",
    };
    let mut events = read(provider, (header, event), &body.to_string()).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

#[test]
fn actions_of_pull_requests_have_the_same_names_for_all_providers() {
    use PullRequestAction as Action;
    let a = "a".repeat(40);
    let github = |action: &str, merged: bool| {
        json!({ "action": action, "number": 7, "repository": { "default_branch": "main" }, "sender": { "login": "jo" },
            "pull_request": { "number": 7, "title": "T", "merged": merged, "head": { "ref": "t", "sha": a, "repo": { "id": 1 } },
                "base": { "ref": "main", "sha": a, "repo": { "id": 1 } } } })
    };
    let gitlab = |action: &str, more: serde_json::Value| {
        let mut request = json!({ "iid": 7, "title": "T", "action": action, "source_branch": "t", "target_branch": "main",
            "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": a } });
        request.as_object_mut().unwrap().extend(more["request"].as_object().cloned().unwrap_or_default());
        json!({ "object_kind": "merge_request", "user": { "username": "jo" }, "project": { "default_branch": "main" },
            "object_attributes": request, "changes": more["changes"] })
    };
    let labels = |previous: &[&str], current: &[&str]| {
        let all = |names: &[&str]| names.iter().map(|name| json!({ "title": name })).collect::<Vec<_>>();
        json!({ "changes": { "labels": { "previous": all(previous), "current": all(current) } } })
    };
    let pushed = json!({ "request": { "oldrev": "b".repeat(40) } });
    let nothing = serde_json::Value::Null;
    for (provider, event, body, action) in [
        (Provider::Github, "pull_request", github("opened", false), Some(Action::Opened)),
        (Provider::Github, "pull_request", github("reopened", false), Some(Action::Reopened)),
        (Provider::Github, "pull_request", github("synchronize", false), Some(Action::Synchronized)),
        (Provider::Github, "pull_request", github("ready_for_review", false), Some(Action::ReadyForReview)),
        (Provider::Github, "pull_request", github("labeled", false), Some(Action::Labeled)),
        (Provider::Github, "pull_request", github("unlabeled", false), Some(Action::Unlabeled)),
        (Provider::Github, "pull_request", github("closed", false), Some(Action::Closed)),
        (Provider::Github, "pull_request", github("closed", true), Some(Action::Merged)),
        (Provider::Github, "pull_request", github("edited", false), None),
        (Provider::Gitea, "pull_request_sync", github("synchronized", false), Some(Action::Synchronized)),
        (Provider::Gitea, "pull_request_label", github("label_updated", false), Some(Action::Labeled)),
        (Provider::Gitea, "pull_request", github("label_cleared", false), Some(Action::Unlabeled)),
        (Provider::Gitea, "pull_request", github("closed", true), Some(Action::Merged)),
        (Provider::Gitlab, "Merge Request Hook", gitlab("open", nothing.clone()), Some(Action::Opened)),
        (Provider::Gitlab, "Merge Request Hook", gitlab("reopen", nothing.clone()), Some(Action::Reopened)),
        (Provider::Gitlab, "Merge Request Hook", gitlab("update", pushed), Some(Action::Synchronized)),
        (
            Provider::Gitlab,
            "Merge Request Hook",
            gitlab("update", labels(&["a"], &["a", "b"])),
            Some(Action::Labeled),
        ),
        (
            Provider::Gitlab,
            "Merge Request Hook",
            gitlab("update", labels(&["a", "b"], &["a"])),
            Some(Action::Unlabeled),
        ),
        (Provider::Gitlab, "Merge Request Hook", gitlab("update", nothing.clone()), None),
        (Provider::Gitlab, "Merge Request Hook", gitlab("close", nothing.clone()), Some(Action::Closed)),
        (Provider::Gitlab, "Merge Request Hook", gitlab("merge", nothing.clone()), Some(Action::Merged)),
        (Provider::Gitlab, "Merge Request Hook", gitlab("approved", nothing), None),
    ] {
        match (event_of(provider, event, &body), action) {
            (Event::PullRequest(request), Some(action)) => {
                assert_eq!((request.action, request.number), (action, 7), "{provider} {body}");
            }
            (Event::Ignored(_), None) => {}
            (event, _) => panic!("{provider} {body}: {event:?}"),
        }
    }
}

#[test]
fn requests_to_run_checks_again_are_parsed() {
    let check = json!({ "head_sha": "a".repeat(40), "external_id": "e", "app": { "id": 5 } });
    let body = |action: &str, kind: &str| {
        json!({ "action": action, kind: check, "sender": { "login": "jo" },
            "repository": { "default_branch": "main" } })
    };
    let expected = |check_run: Option<&str>| {
        Event::Rerun(RerunRequest {
            app_id: 5,
            commit: "a".repeat(40),
            check_run: check_run.map(str::to_owned),
            author: "jo".into(),
        })
    };
    let of = |event, action| event_of(Provider::Github, event, &body(action, event));
    assert_eq!(of("check_run", "rerequested"), expected(Some("e")));
    assert_eq!(of("check_suite", "rerequested"), expected(None));
    for (event, action) in
        [("check_run", "created"), ("check_run", "completed"), ("check_suite", "requested")]
    {
        assert!(matches!(of(event, action), Event::Ignored(_)), "{event} {action}");
    }
}

#[test]
fn releases_and_merge_groups_are_parsed() {
    let a = "a".repeat(40);
    let repository = json!({ "default_branch": "main" });
    let release = |action: &str| {
        json!({ "action": action, "repository": repository, "sender": { "login": "jo" },
            "release": { "tag_name": "v1.2", "target_commitish": "main", "draft": false, "prerelease": false } })
    };
    let published = Release { tag: "v1.2".into(), commit: None, by: Some("jo".into()) };
    for provider in [Provider::Github, Provider::Gitea] {
        assert_eq!(event_of(provider, "release", &release("published")), Event::Release(published.clone()));
        assert!(matches!(event_of(provider, "release", &release("deleted")), Event::Ignored(_)));
    }
    let of_gitlab = |action: &str| {
        json!({ "object_kind": "release", "action": action, "tag": "v1.2", "name": "Release 1.2", "project": repository,
            "commit": { "id": a, "message": "m" } })
    };
    let published = Release { tag: "v1.2".into(), commit: Some(a.clone()), by: None };
    assert_eq!(event_of(Provider::Gitlab, "Release Hook", &of_gitlab("create")), Event::Release(published));
    assert!(matches!(event_of(Provider::Gitlab, "Release Hook", &of_gitlab("update")), Event::Ignored(_)));
    let group = |action: &str| {
        json!({ "action": action, "repository": repository, "sender": { "login": "jo" }, "merge_group": {
            "head_sha": a, "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-0123", "base_ref": "refs/heads/main",
            "base_sha": "b".repeat(40) } })
    };
    let expected = MergeGroup {
        branch: "gh-readonly-queue/main/pr-7-0123".into(),
        target_branch: "main".into(),
        commit: a.clone(),
        before: Some("b".repeat(40)),
        by: Some("jo".into()),
    };
    let requested = event_of(Provider::Github, "merge_group", &group("checks_requested"));
    assert_eq!(requested, Event::MergeGroup(expected));
    assert!(matches!(event_of(Provider::Github, "merge_group", &group("destroyed")), Event::Ignored(_)));
    let hostile = release("published").to_string().replace("v1.2", "--upload-pack=x");
    let refused = read(Provider::Github, ("x-github-event", "release"), &hostile);
    assert!(matches!(refused, Err(WebhookError::Malformed { .. })), "{refused:?}");
}

#[test]
fn comments_have_their_author_and_what_is_known_of_rights() {
    let a = "a".repeat(40);
    let repository = json!({ "default_branch": "main" });
    let github = |association: &str, text: &str, is_pull: bool| {
        json!({ "action": "created", "repository": repository, "sender": { "login": "jo" },
            "issue": { "number": 7, "title": "T", "pull_request": is_pull.then(|| json!({ "url": "x" })) },
            "comment": { "body": text, "user": { "login": "jo" }, "author_association": association } })
    };
    let comment = |provider, event: &str, body: &serde_json::Value| match event_of(provider, event, body) {
        Event::Comment(comment) => Ok(*comment),
        Event::Ignored(why) => Err(why),
        event => panic!("{body}: {event:?}"),
    };
    for (association, may_write) in [
        ("OWNER", true),
        ("MEMBER", true),
        ("COLLABORATOR", true),
        ("CONTRIBUTOR", false),
        ("FIRST_TIME_CONTRIBUTOR", false),
        ("NONE", false),
        ("owner", false),
    ] {
        let parsed =
            comment(Provider::Github, "issue_comment", &github(association, "/run\r\n", true)).unwrap();
        let expected = PullRequestComment {
            number: 7,
            request: None,
            text: "/run".into(),
            author: "jo".into(),
            may_write: Some(may_write),
            by: Some("jo".into()),
        };
        assert_eq!(parsed, expected, "{association}");
    }
    let hostile =
        comment(Provider::Github, "issue_comment", &github("OWNER", "a\u{1b}[31m\u{202e}b\nc", true));
    assert_eq!(hostile.unwrap().text, "a[31mb\nc");
    for (body, reason) in [
        (github("OWNER", "/run", false), "only comments on pull requests"),
        (github("OWNER", &"x".repeat(MAX_COMMENT_LEN + 1), true), "at most 4096 bytes"),
    ] {
        let why = comment(Provider::Github, "issue_comment", &body).unwrap_err();
        assert!(why.contains(reason), "{why}");
    }
    let mut edited = github("OWNER", "/run", true);
    edited["action"] = json!("edited");
    assert!(
        comment(Provider::Github, "issue_comment", &edited).is_err(),
        "another person may have edited it"
    );

    let gitea = json!({ "action": "created", "is_pull": true, "repository": repository, "sender": { "login": "jo" },
        "issue": { "number": 7, "title": "T" }, "comment": { "body": "/run", "user": { "login": "jo" } } });
    let parsed = comment(Provider::Gitea, "issue_comment", &gitea).unwrap();
    assert_eq!((parsed.number, parsed.may_write, parsed.author.as_str()), (7, None, "jo"));

    let gitlab = |kind: &str, action: serde_json::Value| {
        json!({ "object_kind": "note", "user": { "username": "jo" }, "project": repository,
            "object_attributes": { "note": "/run", "action": action },
            "merge_request": (kind == "MergeRequest").then(|| json!({ "iid": 7, "title": "T", "source_branch": "t",
                "target_branch": "main", "source_project_id": 2, "target_project_id": 1, "last_commit": { "id": a } })) })
    };
    let parsed = comment(Provider::Gitlab, "Note Hook", &gitlab("MergeRequest", json!("create"))).unwrap();
    let request = parsed.request.unwrap();
    assert_eq!((request.from_fork, request.commit.as_str(), parsed.may_write), (true, a.as_str(), None));
    assert!(comment(Provider::Gitlab, "Note Hook", &gitlab("MergeRequest", serde_json::Value::Null)).is_ok());
    assert!(comment(Provider::Gitlab, "Note Hook", &gitlab("MergeRequest", json!("update"))).is_err());
    assert!(comment(Provider::Gitlab, "Note Hook", &gitlab("Issue", json!("create"))).is_err());

    let bitbucket = |from: &str| {
        let end = |name: &str, repository: &str| {
            json!({ "branch": { "name": name }, "commit": { "hash": "0123456789ab" },
            "repository": { "full_name": repository } })
        };
        json!({ "actor": { "nickname": "jo", "account_id": "5b10" }, "repository": { "mainbranch": { "name": "main" } },
            "comment": { "content": { "raw": "/run" }, "user": { "nickname": "jo", "account_id": "5b10" } },
            "pullrequest": { "id": 7, "title": "T", "source": end("t", from), "destination": end("main", "team/app") } })
    };
    let parsed = comment(Provider::Bitbucket, "pullrequest:comment_created", &bitbucket("team/app")).unwrap();
    assert_eq!(
        (parsed.author.as_str(), parsed.by.as_deref()),
        ("5b10", Some("jo")),
        "names can be taken by others"
    );
    assert!(comment(Provider::Bitbucket, "pullrequest:comment_created", &bitbucket("eve/app")).is_err());
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
fn empty_address_hides_no_other() {
    let body = br#"{"project": {"git_http_url": "https://git.example.org/team/app.git", "git_ssh_url": "", "web_url": null}}"#;
    assert_eq!(Provider::Gitlab.repository_names(body), ["git.example.org/team/app"]);
    let body = br#"{"repository": {"clone_url": "", "ssh_url": "git@git.example.org:team/app.git"}}"#;
    assert_eq!(Provider::Github.repository_names(body), ["git.example.org/team/app"]);
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
