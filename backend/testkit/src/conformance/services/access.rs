//! Checks of tokens and the audit log, over the adapters.

use crate::conformance::StoresUnderTest;
use tidemill_core::access::{AuditQuery, Scope, TokenRequest};
use tidemill_services::{Caller, Services, Settings};
use tokio_util::sync::CancellationToken;

async fn services(subject: &StoresUnderTest) -> Services {
    Services::new(subject.open().await, Settings::default(), CancellationToken::new())
}

fn request(name: &str) -> TokenRequest {
    TokenRequest {
        name: name.into(),
        scopes: [Scope::Read, Scope::Run].into(),
        repo: Some("ours".into()),
        expire_in_s: Some(3_600),
    }
}

/// A token is valid in every process until it expires, or is revoked and the cached entry expires.
pub async fn token_is_valid_until_expiry_or_revocation(subject: &StoresUnderTest) {
    let (one, other) = (services(subject).await, services(subject).await);
    let admin = Caller::bootstrap(Scope::Admin);
    let first = one.tokens.create(request("first"), &admin).await.unwrap();
    subject.clock.advance(1);
    let second = one.tokens.create(request("second"), &admin).await.unwrap();
    let lookup =
        async |services: &Services, token: &str| services.tokens.caller(token.as_bytes()).await.unwrap();
    for services in [&one, &other] {
        let caller = lookup(services, &first.token).await.unwrap();
        assert_eq!((&*caller.name, caller.repo.as_deref()), ("first", Some("ours")));
        assert!(
            caller.has_scope(Scope::Run)
                && !caller.has_scope(Scope::Admin)
                && !caller.has_scope(Scope::Worker)
        );
    }
    let listed = other.tokens.list().await.unwrap().tokens;
    let names: Vec<&str> = listed.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!((listed[0].last_used_at.is_some(), listed[1].last_used_at), (true, None));

    assert_eq!(other.tokens.revoke(first.view.id).await.unwrap().name, "first");
    assert!(other.tokens.revoke(first.view.id).await.is_err());
    assert!(lookup(&other, &first.token).await.is_none());
    subject.clock.advance(i64::try_from(Settings::default().token_cache_ttl_ms).unwrap());
    assert!(lookup(&one, &first.token).await.is_none(), "other processes notice a revocation within seconds");
    assert!(lookup(&one, &second.token).await.is_some());
    subject.clock.advance(3_600_000);
    assert!(lookup(&one, &second.token).await.is_none(), "the token has expired");
}

/// Audit entries of every process are listed newest first, in pages.
pub async fn audit_log_is_listed_newest_first(subject: &StoresUnderTest) {
    let (one, other) = (services(subject).await, services(subject).await);
    let admin = Caller::bootstrap(Scope::Admin);
    for number in 0..7 {
        let repo = if number % 2 == 0 { "even" } else { "odd" };
        one.audit.record(&admin, "thing.do", number, Some(repo), "done").await;
        subject.clock.advance(1);
    }
    let all = async |repo: Option<&str>| {
        let (mut targets, mut cursor) = (Vec::new(), None);
        loop {
            let query =
                AuditQuery { repo: repo.map(str::to_owned), limit: Some(2), cursor, ..AuditQuery::default() };
            let page = other.audit.list(query).await.unwrap();
            assert!(page.entries.len() <= 2);
            targets.extend(page.entries.into_iter().map(|entry| entry.target));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return targets.concat();
            }
        }
    };
    assert_eq!(all(None).await, "6543210");
    assert_eq!(all(Some("odd")).await, "531");
    assert_eq!(all(Some("none")).await, "");
}
