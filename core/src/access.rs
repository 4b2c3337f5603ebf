//! Who may do what, and who did what: tokens with scopes, and entries of the audit record.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};
use uuid::Uuid;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See executions, logs and artifacts.
    Read,
    /// Start, cancel and retry executions as well.
    Run,
    /// Take jobs and report on them; nothing else.
    Worker,
    /// Everything.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Run, Self::Worker, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
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
        f.write_str(self.word())
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.word() == text);
        found.ok_or_else(|| format!("`{text}` is no scope; there are read, run, worker and admin"))
    }
}

/// Make a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRequest {
    /// Its name, for people: no control characters.
    #[schemars(length(min = 1, max = 100), extend("pattern" = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"))]
    pub name: String,
    /// What it is for; at least one.
    #[schemars(length(min = 1))]
    pub scopes: BTreeSet<Scope>,
    /// The only repository that it is for, not with the scope `worker`; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub repo: Option<String>,
    /// Seconds from now on that it is valid, at most 100 years; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_u64))]
    pub expire_in_s: Option<u64>,
}

/// A token as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub scopes: BTreeSet<Scope>,
    /// The only repository that it is for.
    #[serde(default)]
    pub repo: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it: a token's name.
    pub created_by: String,
    /// From when on it is not valid any more.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was used, to the hour.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

/// A token was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenReply {
    /// The token itself, which cannot be had again.
    pub token: String,
    /// What is known of it.
    pub view: TokenView,
}

impl fmt::Debug for TokenReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReply").field("view", &self.view).finish_non_exhaustive()
    }
}

/// All tokens that were made and not revoked; those of the deployment itself are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// In the order of their making.
    pub tokens: Vec<TokenView>,
}

/// A token was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeReply {
    /// The token that was.
    pub revoked: TokenView,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Id of the token that was used: a UUID, or `bootstrap` for one of the deployment itself.
    pub token: String,
    /// Its name.
    pub who: String,
    /// What: `execution.start`, `token.revoke`, ...
    pub action: String,
    /// To what: an id or a name.
    pub target: String,
    /// Of which repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// From which address, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What came of it, such as `done`.
    pub outcome: String,
}

/// A page of the audit record, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditList {
    /// The page. With filters it may be short, or even empty, though more follow.
    pub entries: Vec<AuditEntry>,
    /// Give it back as `cursor` for the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Filters of the audit record; all given ones must hold.
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
    /// From the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
