//! Roles of people: which rule gives which role, and what a role may do in which repository.
//!
//! A role is a scope of tokens, for the repositories that its rule names. So whatever holds for a token holds for a person, too.

use super::{Scope, provider::ProviderKind};
use crate::repository::canonical_name;
use crate::text::is_control;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// Maximum number of rules of a deployment.
pub const MAX_RULES: usize = 500;
/// Maximum length of a name, a group or a pattern, in bytes.
pub const MAX_NAME_LEN: usize = 300;
/// Maximum number of groups of a person; further ones are dropped, and give no role.
pub const MAX_GROUPS: usize = 500;
/// Maximum length of the names of a person's groups together, in bytes; further ones are dropped.
pub const MAX_GROUPS_LEN: usize = 64 << 10;
/// The pattern of all repositories.
pub const ALL_REPOSITORIES: &str = "*";

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See executions, logs and artifacts.
    Viewer,
    /// Start, approve, cancel and retry executions as well.
    Developer,
    /// Administer the repositories as well: their registration, secrets, variables, logins and badges.
    Maintainer,
    /// Everything in all repositories, and what concerns the whole deployment: tokens, roles, workers and the audit log.
    Admin,
}

impl Role {
    /// All roles, the lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Developer, Self::Maintainer, Self::Admin];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }

    /// Returns the scope that the role has in its repositories.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Viewer => Scope::Read,
            Self::Developer => Scope::Run,
            Self::Maintainer | Self::Admin => Scope::Admin,
        }
    }

    /// Returns the scope that the role, given for all repositories, has for the deployment as a whole.
    #[must_use]
    pub const fn deployment_scope(self) -> Scope {
        match self {
            Self::Viewer => Scope::Read,
            Self::Developer | Self::Maintainer => Scope::Run,
            Self::Admin => Scope::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not that of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{0}`: use viewer, developer, maintainer or admin")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// A person who signed in, as the provider described them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Provider and the id that it never gives to another person: `oidc:#248289761001`.
    pub id: String,
    /// Name for display, and in the audit log.
    pub name: String,
    /// Names by which rules select the person, each with its provider: `oidc:alice@example.org`. The id is one of them.
    pub names: BTreeSet<String>,
    /// Groups, each with its provider: `oidc:developers`.
    pub groups: BTreeSet<String>,
}

/// For whom a rule is, and in which repositories it applies. A deployment has one rule for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RoleTarget {
    /// A person, with the provider: `oidc:alice@example.org`, `github:alice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub user: Option<String>,
    /// A group, with the provider: `oidc:developers`, `github:acme/backend`. Without user and group the rule is for everyone who signs
    /// in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub group: Option<String>,
    /// The repository; `*` stands for any characters. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub repo: Option<String>,
}

/// A rule that gives a role; sent to add it, or to change the role of an existing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleRequest {
    /// The role.
    pub role: Role,
    /// For whom and where.
    #[serde(flatten)]
    pub target: RoleTarget,
}

/// A rule that gives a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleRule {
    /// The role.
    pub role: Role,
    /// For whom and where.
    #[serde(flatten)]
    pub target: RoleTarget,
    /// When it was set.
    pub set_at: Timestamp,
    /// Name of who set it.
    pub set_by: String,
}

/// The rules of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleList {
    /// In the order of persons, groups and repositories.
    pub rules: Vec<RoleRule>,
}

/// The reply to the removal of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRoleReply {
    /// Whether there was such a rule.
    pub removed: bool,
}

/// A rule is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// It names a person and a group.
    #[error("a rule is for a user or for a group, not for both; set two rules")]
    UserAndGroup,
    /// A text is empty, too long, or has control characters.
    #[error("`{0}` of a rule has 1 to {MAX_NAME_LEN} bytes, none of them control characters")]
    Text(&'static str),
    /// A name lacks its provider.
    #[error(
        "`{0}` does not say where the name is from: write it as oidc:NAME, github:NAME, gitlab:NAME or gitea:NAME"
    )]
    NoProvider(String),
    /// An administrator has no limit to repositories.
    #[error("the role admin is for all repositories; leave the repository out, or use the role maintainer")]
    LimitedAdmin,
    /// Everyone would administer the deployment.
    #[error("the roles maintainer and admin need a user or a group; everyone can be viewer or developer")]
    PowerfulEveryone,
}

impl RoleRequest {
    /// Checks the rule, and returns it with its repository written as rules are compared.
    pub fn checked(mut self) -> Result<Self, RoleError> {
        self.target = self.target.checked()?;
        if self.role == Role::Admin && self.target.repo.is_some() {
            return Err(RoleError::LimitedAdmin);
        }
        if self.role > Role::Developer && self.target.user.is_none() && self.target.group.is_none() {
            return Err(RoleError::PowerfulEveryone);
        }
        Ok(self)
    }
}

impl RoleTarget {
    /// Checks the target, and returns it with its repository written as rules are compared.
    pub fn checked(mut self) -> Result<Self, RoleError> {
        for (name, text) in [("user", &self.user), ("group", &self.group), ("repo", &self.repo)] {
            let is_valid =
                |text: &String| (1..=MAX_NAME_LEN).contains(&text.len()) && !text.contains(is_control);
            if !text.as_ref().is_none_or(is_valid) {
                return Err(RoleError::Text(name));
            }
        }
        if self.user.is_some() && self.group.is_some() {
            return Err(RoleError::UserAndGroup);
        }
        for name in [&mut self.user, &mut self.group].into_iter().flatten() {
            let parts = name.split_once(':').filter(|(_, rest)| !rest.is_empty());
            let provider = parts.and_then(|(provider, rest)| Some((ProviderKind::parse(provider)?, rest)));
            let Some((provider, rest)) = provider else { return Err(RoleError::NoProvider(name.clone())) };
            *name = provider.qualified(rest);
        }
        self.repo = self.repo.filter(|repo| repo != ALL_REPOSITORIES).map(|repo| canonical_pattern(&repo));
        Ok(self)
    }

    fn selects(&self, person: &Person) -> bool {
        self.user.as_ref().is_none_or(|user| person.names.contains(user))
            && self.group.as_ref().is_none_or(|group| person.groups.contains(group))
    }
}

/// Writes a pattern as names of repositories are compared: without scheme and `.git`, with the host in lower case.
fn canonical_pattern(pattern: &str) -> String {
    if !pattern.contains('*') {
        return canonical_name(pattern);
    }
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let separator = if rest.contains('/') { "/" } else { "" };
    format!("{}{separator}{}", host.to_lowercase(), path.strip_suffix(".git").unwrap_or(path))
}

/// Whether a pattern, in which `*` stands for any characters, matches the whole text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut rest = rest;
    while let Some((part, next)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
        rest = next;
    }
    text.ends_with(rest)
}

/// The roles of a person by repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// The role in all repositories.
    everywhere: Option<Role>,
    /// Roles by pattern of repositories.
    limited: Vec<(String, Role)>,
}

impl Grants {
    /// Returns what the rules give to a person.
    #[must_use]
    pub fn of(rules: &[RoleRule], person: &Person) -> Self {
        let mut grants = Self::default();
        for rule in rules.iter().filter(|rule| rule.target.selects(person)) {
            match &rule.target.repo {
                None => grants.everywhere = grants.everywhere.max(Some(rule.role)),
                Some(pattern) => grants.limited.push((pattern.clone(), rule.role)),
            }
        }
        grants
    }

    /// Returns the highest role in a repository.
    #[must_use]
    pub fn role_in(&self, repo: &str) -> Option<Role> {
        if self.limited.is_empty() {
            return self.everywhere;
        }
        let name = canonical_name(repo);
        let limited =
            self.limited.iter().filter(|(pattern, _)| matches(pattern, &name)).map(|(_, role)| *role).max();
        self.everywhere.max(limited)
    }

    /// Returns the highest role that applies to all repositories.
    #[must_use]
    pub const fn everywhere(&self) -> Option<Role> {
        self.everywhere
    }

    /// Returns the highest role in any repository.
    #[must_use]
    pub fn highest(&self) -> Option<Role> {
        self.everywhere.max(self.limited.iter().map(|(_, role)| *role).max())
    }

    /// Returns the roles by pattern, the one of all repositories first.
    #[must_use]
    pub fn listed(&self) -> Vec<RoleGrant> {
        let everywhere = self.everywhere.map(|role| RoleGrant { role, repo: ALL_REPOSITORIES.to_owned() });
        let limited = self.limited.iter().map(|(repo, role)| RoleGrant { role: *role, repo: repo.clone() });
        everywhere.into_iter().chain(limited).collect()
    }
}

/// A role of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleGrant {
    /// The role.
    pub role: Role,
    /// Its repositories; `*` stands for any characters.
    pub repo: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Grants, MAX_NAME_LEN, Person, Role, RoleError, RoleRequest, RoleRule, RoleTarget, matches};
    use crate::{access::Scope, time::Timestamp};

    fn target(user: &str, group: &str, repo: &str) -> RoleTarget {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        RoleTarget { user: text(user), group: text(group), repo: text(repo) }
    }

    fn rule(role: Role, user: &str, group: &str, repo: &str) -> RoleRule {
        let checked = RoleRequest { role, target: target(user, group, repo) }.checked().unwrap();
        RoleRule { role, target: checked.target, set_at: Timestamp(0), set_by: "admin".into() }
    }

    fn person(names: &[&str], groups: &[&str]) -> Person {
        let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Person { id: "oidc:#1".into(), name: "Alice".into(), names: all(names), groups: all(groups) }
    }

    #[test]
    fn highest_matching_rule_decides() {
        let rules = [
            rule(Role::Viewer, "", "", ""),
            rule(Role::Developer, "", "oidc:devs", "https://Git.Example.org/team/*"),
            rule(Role::Maintainer, "oidc:alice@example.org", "", "https://git.example.org/team/app.git"),
            rule(Role::Admin, "", "oidc:admins", "*"),
        ];
        let of = |names: &[&str], groups: &[&str]| Grants::of(&rules, &person(names, groups));
        let alice = of(&["oidc:alice@example.org"], &["oidc:devs"]);
        assert_eq!(alice.role_in("git@git.example.org:team/app.git"), Some(Role::Maintainer));
        assert_eq!(alice.role_in("https://git.example.org/team/lib"), Some(Role::Developer));
        assert_eq!(alice.role_in("https://git.example.org/other/lib"), Some(Role::Viewer));
        assert_eq!((alice.everywhere(), alice.highest()), (Some(Role::Viewer), Some(Role::Maintainer)));
        // The same name from another provider is another person, and a group is no user.
        let other =
            of(&["github:alice@example.org", "oidc:devs"], &["github:devs", "oidc:alice@example.org"]);
        assert_eq!((other.highest(), other.listed().len()), (Some(Role::Viewer), 1));
        assert_eq!(of(&[], &["oidc:admins"]).role_in("https://elsewhere.example.org/x"), Some(Role::Admin));
        assert_eq!(Grants::of(&[], &person(&["oidc:1"], &["oidc:admins"])).highest(), None);
    }

    #[test]
    fn role_maps_onto_one_scope() {
        let scopes = Role::ALL.map(|role| (role.scope(), role.deployment_scope()));
        let (read, run, admin) = (Scope::Read, Scope::Run, Scope::Admin);
        assert_eq!(scopes, [(read, read), (run, run), (admin, run), (admin, admin)]);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("owner".parse::<Role>().is_err());
    }

    #[test]
    fn unsafe_and_ambiguous_rules_are_rejected() {
        let check = |role, user: &str, group: &str, repo: &str| {
            RoleRequest { role, target: target(user, group, repo) }.checked()
        };
        assert_eq!(check(Role::Viewer, "oidc:a", "oidc:b", ""), Err(RoleError::UserAndGroup));
        assert_eq!(check(Role::Admin, "oidc:a", "", "git.example.org/*"), Err(RoleError::LimitedAdmin));
        assert_eq!(check(Role::Admin, "", "", ""), Err(RoleError::PowerfulEveryone));
        assert_eq!(check(Role::Maintainer, "", "", "git.example.org/*"), Err(RoleError::PowerfulEveryone));
        for name in ["alice", "oidc:", ":alice", "ldap:alice"] {
            assert_eq!(check(Role::Viewer, name, "", ""), Err(RoleError::NoProvider(name.into())), "{name}");
        }
        assert_eq!(check(Role::Viewer, "oidc:a\nb", "", ""), Err(RoleError::Text("user")));
        let long = "x".repeat(MAX_NAME_LEN + 1);
        assert_eq!(check(Role::Viewer, "", "", &long), Err(RoleError::Text("repo")));
        assert_eq!(check(Role::Admin, "oidc:a", "", "*").unwrap().target.repo, None);
        let user = |name| check(Role::Viewer, name, "", "").unwrap().target.user.unwrap();
        assert_eq!([user("github:Alice"), user("oidc:Alice")], ["github:alice", "oidc:Alice"]);
    }

    #[test]
    fn star_matches_any_characters_and_nothing_else_does() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "a/b/c", true),
            ("a/*", "a", false),
            ("*/app", "host/team/app", true),
            ("*/app", "host/team/app2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("a.b", "a-b", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
