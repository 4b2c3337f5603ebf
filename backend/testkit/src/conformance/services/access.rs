//! Checks of tokens, sessions, roles and the audit log, over the adapters.

use crate::conformance::StoresUnderTest;
use tidemill_core::access::{
    AuditQuery, Scope, TokenRequest,
    provider::ProviderKind,
    roles::{Person, Role, RoleRequest, RoleTarget},
    sessions::{CodeExchange, MAX_IDLE_MS, SessionQuery, challenge_of},
};
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

fn person(name: &str) -> Person {
    Person::new(ProviderKind::Oidc, name, Some(name), [name], ["developers"])
}

/// A session is valid in every process until it is ended and the cached entry expires, or until it was not used for some days.
pub async fn session_is_valid_in_every_process_until_it_ends(subject: &StoresUnderTest) {
    let (one, other) = (services(subject).await, services(subject).await);
    let (first, cookie) = one.sessions.create(person("alice"), Some("browser"), None).await.unwrap();
    subject.clock.advance(1);
    let (second, unused) = other.sessions.create(person("alice"), None, None).await.unwrap();
    other.sessions.create(person("bob"), None, None).await.unwrap();
    let lookup = async |services: &Services, cookie: &str| services.sessions.caller(cookie).await.unwrap();
    let caller = lookup(&one, &cookie).await.unwrap();
    assert_eq!((&*caller.id, caller.session), ("oidc:#alice", Some(first)));
    assert!(lookup(&other, &cookie).await.is_some());
    assert!(lookup(&other, &cookie.replace("tm_", "tn_")).await.is_none());
    let listed = other.sessions.list(&caller, &SessionQuery::default()).await.unwrap().sessions;
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [second, first]);

    assert!(other.sessions.end(&caller, first, None).await.unwrap());
    assert!(!other.sessions.end(&caller, first, None).await.unwrap());
    assert!(lookup(&other, &cookie).await.is_none());
    let cache_ttl_ms = i64::try_from(Settings::default().token_cache_ttl_ms).unwrap();
    subject.clock.advance(cache_ttl_ms);
    assert!(lookup(&one, &cookie).await.is_none(), "other processes notice within seconds");
    assert!(lookup(&one, &unused).await.is_some());
    subject.clock.advance(MAX_IDLE_MS - cache_ttl_ms - 1);
    assert!(lookup(&one, &unused).await.is_some(), "this use is recorded");
    subject.clock.advance(MAX_IDLE_MS - 1);
    assert!(lookup(&other, &unused).await.is_some());
    subject.clock.advance(MAX_IDLE_MS);
    assert!(lookup(&other, &unused).await.is_none());
}

/// Changes of several processes at once are all kept, and hold in the others when their cache expires.
pub async fn concurrent_changes_of_roles_are_all_kept(subject: &StoresUnderTest) {
    let (one, other) = (services(subject).await, services(subject).await);
    let admin = Caller::bootstrap(Scope::Admin);
    assert_eq!(other.roles.grants(&person("alice")).await.unwrap().highest(), None);
    let target = |name: &str| RoleTarget { user: Some(format!("oidc:{name}")), group: None, repo: None };
    let set = async |services: &Services, name: &str| {
        let request = RoleRequest { role: Role::Maintainer, target: target(name) };
        services.roles.set(request, &admin).await.unwrap()
    };
    tokio::join!(set(&one, "alice"), set(&other, "bob"), set(&one, "carol"));
    assert_eq!(one.roles.list().await.unwrap().rules.len(), 3);
    subject.clock.advance(i64::try_from(Settings::default().token_cache_ttl_ms).unwrap());
    for name in ["alice", "bob", "carol"] {
        assert_eq!(other.roles.grants(&person(name)).await.unwrap().everywhere(), Some(Role::Maintainer));
    }
    assert!(one.roles.remove(target("alice")).await.unwrap());
    assert!(!one.roles.remove(target("alice")).await.unwrap());
    assert_eq!(one.roles.grants(&person("alice")).await.unwrap().highest(), None, "at once in this process");
    subject.clock.advance(i64::try_from(Settings::default().token_cache_ttl_ms).unwrap());
    assert_eq!(other.roles.grants(&person("alice")).await.unwrap().highest(), None);
}

/// Of concurrent exchanges of a code, one gets a token.
pub async fn code_is_exchanged_once(subject: &StoresUnderTest) {
    let (one, other) = (services(subject).await, services(subject).await);
    let (_, cookie) = one.sessions.create(person("alice"), None, None).await.unwrap();
    let caller = one.sessions.caller(&cookie).await.unwrap().unwrap();
    let verifier = "v".repeat(43);
    let code = one.sessions.create_code(&caller, &challenge_of(&verifier)).await.unwrap();
    let exchange = CodeExchange { code, verifier, machine: "laptop".into() };
    let (first, second) = tokio::join!(one.sessions.exchange(&exchange), other.sessions.exchange(&exchange));
    let tokens: Vec<_> = [first, second].into_iter().filter_map(|result| result.unwrap()).collect();
    assert_eq!(tokens.len(), 1);
    let (_, reply) = &tokens[0];
    let caller = other.tokens.caller(reply.token.as_bytes()).await.unwrap().unwrap();
    assert_eq!((&*caller.id, caller.session, caller.scopes.len()), ("oidc:#alice", None, 0));
}
