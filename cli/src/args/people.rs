//! Arguments of `roles` and `sessions`.

use super::shared::{ConnectionArgs, FormatArgs};
use clap::{Args, Subcommand};
use tidemill_core::access::roles::{ALL_REPOSITORIES, Role, RoleTarget};
use uuid::Uuid;

/// `roles`.
#[derive(Debug, Args)]
pub struct Roles {
    /// The action.
    #[command(subcommand)]
    pub action: RolesAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `roles`.
#[derive(Debug, Subcommand)]
pub enum RolesAction {
    /// List who has which role in which repositories
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Give a role, or change it
    Set {
        /// Role: viewer, developer, maintainer or admin
        role: Role,
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Take a role back
    Remove {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        format: FormatArgs,
    },
}

/// For whom a role is, and where.
#[derive(Debug, Args)]
pub struct TargetArgs {
    #[command(flatten)]
    pub holder: HolderArgs,
    /// Repository; `*` stands for any characters [example: git.example.org/team/*]
    #[arg(long, value_name = "PATTERN", default_value = ALL_REPOSITORIES)]
    pub repo: String,
}

/// For whom a role is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct HolderArgs {
    /// Person, with the provider [example: oidc:alice@example.org]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Group, with the provider [example: github:acme/backend]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Everyone who signs in
    #[arg(long)]
    pub everyone: bool,
}

impl TargetArgs {
    /// Returns the target of the rule.
    pub fn target(&self) -> RoleTarget {
        RoleTarget {
            user: self.holder.user.clone(),
            group: self.holder.group.clone(),
            repo: Some(self.repo.clone()),
        }
    }
}

/// `sessions`.
#[derive(Debug, Args)]
pub struct Sessions {
    /// The action.
    #[command(subcommand)]
    pub action: SessionsAction,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `sessions`.
#[derive(Debug, Subcommand)]
pub enum SessionsAction {
    /// List the browsers in which people are signed in
    List {
        /// Only sessions of this person, by id [default: your own, or all if you use a token of the deployment]
        #[arg(long, value_name = "ID", conflicts_with = "all")]
        person: Option<String>,
        /// Sessions of all people
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// End a session, so that the person has to sign in again
    Revoke {
        /// Id of the session
        session: Uuid,
        /// Id of its person, if it is not you
        #[arg(long, value_name = "ID")]
        person: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
    },
}
