//! Sessions of browsers, and how the command line gets a token for the person who is signed in.

use super::{Scope, roles::RoleGrant, sign_in::ProviderView};
use crate::time::Timestamp;
use data_encoding::BASE64URL_NOPAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The `Authorization` header of the web UI's requests that have the cookie of a session, or no credential at all, where a gateway
/// rejects requests without one. It proves nothing.
pub const COOKIE_CREDENTIAL: &str = "Session";

/// The header that requests of the web UI carry. No other site can send it without the server's consent, which it never gives.
pub const CSRF_HEADER: &str = "x-tidemill-request";

/// Lifetime of a session, whatever its use: 30 days.
pub const MAX_SESSION_MS: i64 = 30 * DAY_MS;
/// How long a session lasts without use: 7 days.
pub const MAX_IDLE_MS: i64 = 7 * DAY_MS;
/// Minimum time between two writes of a session's end: a day.
pub const EXTENSION_INTERVAL_MS: u64 = 24 * 3_600_000;
/// Lifetime of a personal token: 90 days.
pub const PERSONAL_TOKEN_MS: i64 = 90 * DAY_MS;
/// Lifetime of a code for the command line: 2 minutes.
pub const CODE_MS: i64 = 120_000;

const DAY_MS: i64 = 24 * 3_600_000;

/// Returns when a session ends that was created at `created` and used at `used`.
#[must_use]
pub fn session_end(created: Timestamp, used: Timestamp) -> Timestamp {
    created.plus_ms(MAX_SESSION_MS).min(used.plus_ms(MAX_IDLE_MS))
}

/// Where a request of a browser comes from, by the headers that only the browser itself can set.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOrigin<'a> {
    /// Whether [`CSRF_HEADER`] is set.
    pub has_header: bool,
    /// Value of `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Value of `Origin`.
    pub origin: Option<&'a str>,
}

impl RequestOrigin<'_> {
    /// Whether the request is one of the web UI of the server at `public_url`. A cookie counts only for such requests, unless they
    /// change nothing.
    #[must_use]
    pub fn is_own(&self, public_url: &str) -> bool {
        let same = |origin: &str| {
            url::Url::parse(public_url).is_ok_and(|url| url.origin().ascii_serialization() == origin)
        };
        self.has_header
            && self.fetch_site.is_none_or(|site| site == "same-origin")
            && self.origin.is_none_or(same)
            // One of them is sent by every browser.
            && (self.fetch_site.is_some() || self.origin.is_some())
    }
}

/// Returns the proof that belongs to a code verifier, as PKCE (RFC 7636) has it: the SHA-256 in base64url.
#[must_use]
pub fn challenge_of(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes()))
}

/// Whether a text has the form of a challenge.
#[must_use]
pub fn is_challenge(text: &str) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == 32)
}

/// Who the caller is, and how one can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    /// Ways to sign in; none: only tokens.
    pub providers: Vec<ProviderView>,
    /// The caller; absent if there is no valid token or session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerView>,
}

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallerView {
    /// Name of the person or of the token.
    pub name: String,
    /// The person's id, with its provider; absent for tokens of machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The names by which rules of roles can select the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The person's groups, as of the last sign-in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The person's roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleGrant>,
    /// The scopes of the token, or the highest one of the person's roles.
    pub scopes: BTreeSet<Scope>,
    /// The only repository of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Id of the session, if the caller is a browser that is signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
}

/// A session of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Its id.
    pub id: Uuid,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When it was last used, to the day.
    pub used_at: Timestamp,
    /// When it ends if it is not used before.
    pub expires_at: Timestamp,
    /// The browser's description of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// The address from which the person signed in, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether it is the session of this request.
    pub current: bool,
    /// The person's id, in lists of the sessions of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The person's name, in lists of the sessions of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Query of a list of sessions; without fields: the caller's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionQuery {
    /// The id of a person, with its provider. Sessions of others need an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The sessions of all people; needs an administrator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// The newest first.
    pub sessions: Vec<SessionView>,
    /// Whether there are more, which are not listed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The reply to the end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndSessionReply {
    /// Whether there was such a session.
    pub ended: bool,
}

/// Asks for a code with which the command line gets a token of the person who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeRequest {
    /// SHA-256, in base64url, of the verifier that only the command line knows.
    #[schemars(length(equal = 43))]
    pub challenge: String,
}

/// The reply with a code, which is valid for two minutes and once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeReply {
    /// The code.
    pub code: String,
}

/// Exchanges a code for a personal token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeExchange {
    /// The code.
    #[schemars(length(min = 1, max = 100))]
    pub code: String,
    /// The text of which the challenge is the SHA-256.
    #[schemars(length(min = 43, max = 128))]
    pub verifier: String,
    /// Name of the machine, for the list of tokens: no control characters.
    #[schemars(length(min = 1, max = 60))]
    pub machine: String,
}

#[cfg(test)]
mod tests {
    use super::{MAX_IDLE_MS, MAX_SESSION_MS, RequestOrigin, challenge_of, is_challenge, session_end};
    use crate::time::Timestamp;

    #[test]
    fn session_ends_after_idle_time_or_in_all() {
        let created = Timestamp(1_000);
        assert_eq!(session_end(created, created), Timestamp(1_000 + MAX_IDLE_MS));
        let late = created.plus_ms(MAX_SESSION_MS - 5);
        assert_eq!(session_end(created, late), Timestamp(1_000 + MAX_SESSION_MS));
    }

    #[test]
    fn only_requests_of_the_own_pages_may_use_the_cookie() {
        let server = "https://ci.example.org/prefix/";
        let own = RequestOrigin {
            has_header: true,
            fetch_site: Some("same-origin"),
            origin: Some("https://ci.example.org"),
        };
        assert!(own.is_own(server));
        assert!(RequestOrigin { fetch_site: None, ..own }.is_own(server));
        assert!(RequestOrigin { origin: None, ..own }.is_own(server));
        for other in [
            RequestOrigin { has_header: false, ..own },
            RequestOrigin { fetch_site: Some("same-site"), ..own },
            RequestOrigin { fetch_site: Some("cross-site"), ..own },
            RequestOrigin { fetch_site: Some("none"), ..own },
            RequestOrigin { origin: Some("https://evil.example"), ..own },
            RequestOrigin { origin: Some("https://ci.example.org:444"), ..own },
            RequestOrigin { origin: Some("http://ci.example.org"), ..own },
            RequestOrigin { origin: Some("null"), ..own },
            RequestOrigin { fetch_site: None, origin: None, ..own },
        ] {
            assert!(!other.is_own(server), "{other:?}");
        }
    }

    #[test]
    fn challenge_is_that_of_rfc_7636() {
        let challenge = challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(is_challenge(&challenge));
        assert!(
            !is_challenge("") && !is_challenge(&challenge[1..]) && !is_challenge(&format!("{challenge}A"))
        );
    }
}
