//! Access control: tokens with scopes, people with roles, the audit log, and ID tokens of jobs.

pub mod oidc;
pub mod protection;
pub mod provider;
pub mod roles;
pub mod sessions;
pub mod sign_in;

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};
use uuid::Uuid;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read executions, logs and artifacts.
    Read,
    /// Start, cancel and retry executions as well.
    Run,
    /// Claim jobs and report on them; nothing else.
    Worker,
    /// Everything.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Run, Self::Worker, Self::Admin];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Worker => "worker",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not that of a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope `{0}`: use read, run, worker or admin")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let scope = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        scope.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// Creates a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRequest {
    /// Its name, for display: no control characters.
    #[schemars(length(min = 1, max = 100), extend("pattern" = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"))]
    pub name: String,
    /// Its scopes; at least one.
    #[schemars(length(min = 1))]
    pub scopes: BTreeSet<Scope>,
    /// The only repository that it applies to, not with the scope `worker`; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub repo: Option<String>,
    /// Number of seconds for which it is valid, at most 100 years; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_u64))]
    pub expire_in_s: Option<u64>,
}

/// A token as shown to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its scopes; none if it has the roles of a person.
    pub scopes: BTreeSet<Scope>,
    /// The only repository that it applies to.
    #[serde(default)]
    pub repo: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Name of the token that created it.
    pub created_by: String,
    /// When it expires.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
    /// Id of the person whose roles it has, instead of scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// The reply to the creation of a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenReply {
    /// The token, which is not shown again.
    pub token: String,
    /// Its description.
    pub view: TokenView,
}

impl fmt::Debug for TokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReply").field("view", &self.view).finish_non_exhaustive()
    }
}

/// All tokens that are not revoked; those of the deployment itself are not included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// In the order of their creation.
    pub tokens: Vec<TokenView>,
}

/// The reply to the revocation of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeReply {
    /// The revoked token.
    pub revoked: TokenView,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The time.
    pub at: Timestamp,
    /// Id of the token: a UUID, or `bootstrap` for a token of the deployment itself; of a person: the provider and their id there.
    pub token: String,
    /// Name of the token.
    pub who: String,
    /// The action: `execution.start`, `token.revoke`, ...
    pub action: String,
    /// The target of the action: an id or a name.
    pub target: String,
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The client's address, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The result, such as `done`.
    pub outcome: String,
}

/// A page of the audit log, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditList {
    /// The page. With filters it may be short or even empty although more pages follow.
    pub entries: Vec<AuditEntry>,
    /// Value of `cursor` for the next page; absent on the last page.
    pub next_cursor: Option<String>,
}

/// Filters of the audit log; all given ones must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditQuery {
    /// Exact repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Name or id of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Exact action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Page size, 1 to 200; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
