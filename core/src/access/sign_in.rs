//! Signing in with a provider: what a sign-in remembers, which statements of an OpenID provider count, and who the person is.

use super::provider::ProviderKind;
use super::roles::{MAX_GROUPS, MAX_GROUPS_LEN, MAX_NAME_LEN, Person};
use crate::text::{is_control, printable};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// How long a sign-in may take: 10 minutes.
pub const MAX_SIGN_IN_MS: u64 = 600_000;
/// By how much the clocks of the provider and the server may differ, in seconds.
const CLOCK_SKEW_S: i64 = 60;
/// Maximum length of the address to return to, in bytes.
const MAX_RETURN_LEN: usize = 1_000;
/// Maximum length of a name for display, in characters.
const MAX_DISPLAY_LEN: usize = 100;

/// A way to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderView {
    /// The provider, for the address of the sign-in.
    pub id: ProviderKind,
    /// Its name, for the button.
    pub name: String,
}

/// Why a sign-in failed, in the address of the page that explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInFailure {
    /// The person or the provider refused.
    Denied,
    /// It took too long, the browser sent no cookie, or another sign-in began.
    Expired,
    /// The reply does not belong to the sign-in of this browser.
    Mismatch,
    /// The provider cannot be reached, or replied with an error.
    Provider,
    /// The provider's statement about the person is not valid.
    Rejected,
}

impl SignInFailure {
    /// Returns the code for the page.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Mismatch => "mismatch",
            Self::Provider => "provider",
            Self::Rejected => "rejected",
        }
    }
}

/// What a browser keeps, sealed, while it is at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingSignIn {
    /// The provider.
    pub provider: ProviderKind,
    /// The value that the provider returns.
    pub state: String,
    /// The value that the ID token must contain.
    pub nonce: String,
    /// The secret of which the provider got the SHA-256.
    pub verifier: String,
    /// Path and query to go to afterwards.
    pub return_to: String,
    /// When it began.
    pub began_at: Timestamp,
}

impl PendingSignIn {
    /// Whether the sign-in has taken too long at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now < self.began_at || now.since_ms(self.began_at) > MAX_SIGN_IN_MS
    }
}

/// Returns the path to go to after the sign-in: `requested` if it is a path of this server, otherwise the first page.
#[must_use]
pub fn return_path(requested: Option<&str>) -> &str {
    let is_own = |path: &&str| {
        path.len() <= MAX_RETURN_LEN
            && path.starts_with('/')
            // Browsers read `//host` and `/\host` as addresses of another server, and drop control characters first.
            && !path[1..].starts_with(['/', '\\'])
            && !path.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\')
    };
    requested.filter(is_own).unwrap_or("/")
}

/// What an ID token must state.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedClaims<'a> {
    /// Its issuer.
    pub issuer: &'a str,
    /// The id of this server at the provider.
    pub client_id: &'a str,
    /// The value of this sign-in.
    pub nonce: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// An ID token does not state what it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The claims are no object.
    #[error("its claims are not an object")]
    Form,
    /// Another issuer.
    #[error("its issuer is another one than --oidc-issuer names")]
    Issuer,
    /// For another client.
    #[error("it is for another client than --oidc-client-id names")]
    Audience,
    /// Without an end, or expired.
    #[error("it has expired, or has no end")]
    Expired,
    /// Not valid yet.
    #[error("it is from the future; compare the clocks of the server and the provider")]
    Early,
    /// Of another sign-in.
    #[error("its nonce is not that of the sign-in")]
    Nonce,
    /// Without a subject.
    #[error("it names no subject")]
    Subject,
}

/// Checks the claims of an ID token whose signature is valid, and returns the subject (OpenID Connect Core, section 3.1.3.7).
pub fn check_claims<'a>(claims: &'a Value, expected: &ExpectedClaims<'_>) -> Result<&'a str, ClaimError> {
    let claims = claims.as_object().ok_or(ClaimError::Form)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(ClaimError::Issuer);
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::String(audience)) => audience == expected.client_id,
        Some(Value::Array(audiences)) => {
            audiences.iter().any(|one| one == expected.client_id)
                && (audiences.len() == 1 || text("azp") == Some(expected.client_id))
        }
        _ => false,
    };
    if !is_for_us || claims.contains_key("azp") && text("azp") != Some(expected.client_id) {
        return Err(ClaimError::Audience);
    }
    // Times are numbers of seconds, possibly with a fraction.
    #[allow(clippy::cast_possible_truncation, reason = "a float saturates")]
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64).map(|seconds| seconds as i64);
    let now = expected.now.0.div_euclid(1_000);
    if seconds("exp").is_none_or(|end| end.saturating_add(CLOCK_SKEW_S) <= now) {
        return Err(ClaimError::Expired);
    }
    let latest = now.saturating_add(CLOCK_SKEW_S);
    let is_early = |name: &str| claims.contains_key(name) && seconds(name).is_none_or(|from| from > latest);
    if is_early("nbf") || seconds("iat").is_none_or(|issued| issued > latest) {
        return Err(ClaimError::Early);
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(ClaimError::Nonce);
    }
    text("sub").filter(|subject| is_name(subject)).ok_or(ClaimError::Subject)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&text.len()) && !text.contains(is_control)
}

impl Person {
    /// Returns the person with this id at a provider. `names` and `groups` that are no valid names are dropped.
    #[must_use]
    pub fn new<'a>(
        provider: ProviderKind,
        id: &str,
        display: Option<&str>,
        names: impl IntoIterator<Item = &'a str>,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let qualified = |name: &str| provider.qualified(name);
        // Only ids begin with `#`: a name that looks like the id of another person selects nobody.
        let is_own_name = |name: &&str| is_name(name) && !name.starts_with('#');
        let mut known: BTreeSet<String> = names.into_iter().filter(is_own_name).map(qualified).collect();
        let id = qualified(&format!("#{id}"));
        let shown = display.map(str::trim).filter(|name| !name.is_empty()).unwrap_or(&id);
        let name = printable(&shown.chars().take(MAX_DISPLAY_LEN).collect::<String>());
        known.insert(id.clone());
        let mut left = MAX_GROUPS_LEN;
        let is_within_limit = |group: &&str| {
            left = left.saturating_sub(group.len());
            left > 0
        };
        let groups = groups.into_iter().filter(|group| is_name(group)).take(MAX_GROUPS);
        let groups = groups.take_while(is_within_limit).map(qualified).collect();
        Self { id, name, names: known, groups }
    }

    /// Returns the person that an OpenID provider describes. An address counts as a name only if the provider has verified it.
    #[must_use]
    pub fn from_claims(subject: &str, claims: &Value, groups_claim: &str) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let email = text("email").filter(|_| claims.get("email_verified") == Some(&Value::Bool(true)));
        let display = email.or_else(|| text("preferred_username")).or_else(|| text("name"));
        let groups = match claims.get(groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => vec![group.as_str()],
            _ => Vec::new(),
        };
        Self::new(ProviderKind::Oidc, subject, display, email, groups)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        ClaimError, ExpectedClaims, MAX_SIGN_IN_MS, PendingSignIn, ProviderKind, check_claims, return_path,
    };
    use crate::{access::roles::Person, time::Timestamp};
    use serde_json::{Value, json};

    fn check(change: &Value) -> Result<String, ClaimError> {
        let mut claims = json!({
            "iss": "https://id.example.org", "aud": "tidemill", "sub": "alice", "nonce": "n", "iat": 1_000, "exp": 1_300,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let expected = ExpectedClaims {
            issuer: "https://id.example.org",
            client_id: "tidemill",
            nonce: "n",
            now: Timestamp(1_100_000),
        };
        check_claims(&claims, &expected).map(str::to_owned)
    }

    #[test]
    fn claims_of_another_sign_in_client_or_time_are_rejected() {
        assert_eq!(check(&json!({})).unwrap(), "alice");
        assert_eq!(
            check(&json!({ "aud": ["other", "tidemill"], "azp": "tidemill", "exp": 1_041.5 })).unwrap(),
            "alice"
        );
        for (change, error) in [
            (json!({ "iss": "https://id.example.org/" }), ClaimError::Issuer),
            (json!({ "aud": "other" }), ClaimError::Audience),
            (json!({ "aud": ["other", "tidemill"] }), ClaimError::Audience),
            (json!({ "aud": [] }), ClaimError::Audience),
            (json!({ "azp": "other" }), ClaimError::Audience),
            (json!({ "exp": 1_040 }), ClaimError::Expired),
            (json!({ "exp": "1300" }), ClaimError::Expired),
            (json!({ "exp": null }), ClaimError::Expired),
            (json!({ "iat": 1_161 }), ClaimError::Early),
            (json!({ "iat": null }), ClaimError::Early),
            (json!({ "nbf": 1_161 }), ClaimError::Early),
            (json!({ "nbf": "soon" }), ClaimError::Early),
            (json!({ "nonce": "m" }), ClaimError::Nonce),
            (json!({ "nonce": null }), ClaimError::Nonce),
            (json!({ "sub": "" }), ClaimError::Subject),
            (json!({ "sub": "a\nb" }), ClaimError::Subject),
            (json!({ "sub": 7 }), ClaimError::Subject),
        ] {
            assert_eq!(check(&change), Err(error), "{change}");
        }
    }

    #[test]
    fn return_path_stays_on_this_server() {
        for path in ["/", "/executions?repo=a%2Fb&q=1", "/login?challenge=x"] {
            assert_eq!(return_path(Some(path)), path);
        }
        let long = format!("/{}", "x".repeat(1_000));
        for path in [
            "",
            "executions",
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/a\r\nset-cookie: b",
            "/a\\b",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(return_path(Some(path)), "/", "{path}");
        }
        assert_eq!(return_path(None), "/");
    }

    #[test]
    fn unverified_address_is_no_name() {
        let claims =
            json!({ "email": "a@example.org", "preferred_username": "root", "groups": ["x", "", 3, "y\n"] });
        let person = Person::from_claims("7", &claims, "groups");
        assert_eq!((person.id.as_str(), person.name.as_str()), ("oidc:#7", "root"));
        assert_eq!(person.names.into_iter().collect::<Vec<_>>(), ["oidc:#7"]);
        assert_eq!(person.groups.into_iter().collect::<Vec<_>>(), ["oidc:x"]);
        let mut verified = claims;
        verified["email_verified"] = json!(true);
        let person = Person::from_claims("7", &verified, "roles");
        assert_eq!(person.names.into_iter().collect::<Vec<_>>(), ["oidc:#7", "oidc:a@example.org"]);
        assert!(person.groups.is_empty());
        let person =
            Person::new(ProviderKind::Github, "42", Some("Alice\u{1b}[31m"), ["Alice", "#1"], ["Acme/Ops"]);
        assert!(!person.name.contains('\u{1b}'), "{}", person.name);
        assert_eq!(person.names.into_iter().collect::<Vec<_>>(), ["github:#42", "github:alice"]);
        assert!(person.groups.contains("github:acme/ops"));
    }

    #[test]
    fn number_and_length_of_groups_are_bounded() {
        let groups = |count: usize, length: usize| {
            let all: Vec<String> = (0..count).map(|number| format!("{number:0length$}")).collect();
            let person = Person::new(ProviderKind::Oidc, "1", None, [], all.iter().map(String::as_str));
            person.groups.len()
        };
        assert_eq!([groups(500, 10), groups(900, 10), groups(500, 300), groups(9, 301)], [500, 500, 218, 0]);
    }

    #[test]
    fn sign_in_expires() {
        let began_at = Timestamp(5_000);
        let (state, nonce, verifier) = (String::new(), String::new(), String::new());
        let provider = ProviderKind::Oidc;
        let pending = PendingSignIn { provider, state, nonce, verifier, return_to: "/".into(), began_at };
        let last = i64::try_from(MAX_SIGN_IN_MS).unwrap();
        assert!(
            !pending.is_expired(began_at.plus_ms(last)) && pending.is_expired(began_at.plus_ms(last + 1))
        );
        assert!(pending.is_expired(Timestamp(4_999)), "it cannot be from the future");
    }
}
