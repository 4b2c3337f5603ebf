//! `roles`: lists, gives and takes back roles of people.

use crate::{
    args::{Roles, RolesAction},
    deployment::Deployment,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::{
    access::roles::{ALL_REPOSITORIES, RemoveRoleReply, Role, RoleList, RoleRequest, RoleRule, RoleTarget},
    api::path,
};

/// `tidemill roles`.
pub async fn roles(settings: &Settings, args: &Roles) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    match &args.action {
        RolesAction::List { format } => list(&deployment, format.is_json()).await?,
        RolesAction::Set { role, target, format } => {
            let request = RoleRequest { role: *role, target: target.target() };
            let rule: RoleRule = deployment.post(path::ROLES, &request).await?;
            output::print_reply(format.is_json(), &rule, || describe(rule.role, &rule.target))?;
        }
        RolesAction::Remove { target, format } => {
            let target = target.target();
            let reply: RemoveRoleReply = deployment.post(path::REMOVE_ROLE, &target).await?;
            if !reply.removed {
                let (holder, repos) = (holder(&target), repositories(&target));
                return Err(Failure::usage(format!(
                    "no rule gives {holder} a role in {repos}; `tidemill roles list` lists the rules"
                )));
            }
            output::print_reply(format.is_json(), &reply, || {
                format!("{} no longer has this role in {}", holder(&target), repositories(&target))
            })?;
        }
    }
    deployment.close().await;
    Ok(())
}

async fn list(deployment: &Deployment, json: bool) -> Outcome {
    let list: RoleList = deployment.get(path::ROLES).await?;
    if json {
        return Ok(output::print_json(&list.rules)?);
    }
    let mut out = output::stdout();
    if list.rules.is_empty() {
        writeln!(
            out,
            "no roles, so nobody who signs in may do anything; give one with `tidemill roles set`"
        )?;
    }
    for rule in &list.rules {
        let (by, at) = (Printable(&rule.set_by), rule.set_at);
        writeln!(out, "{}  (set by {by}, {at})", describe(rule.role, &rule.target))?;
    }
    Ok(out.flush()?)
}

fn describe(role: Role, target: &RoleTarget) -> String {
    format!("{} is {role} in {}", holder(target), repositories(target))
}

fn holder(target: &RoleTarget) -> String {
    match (&target.user, &target.group) {
        (Some(user), _) => Printable(user).to_string(),
        (None, Some(group)) => format!("group {}", Printable(group)),
        (None, None) => "everyone who signs in".to_owned(),
    }
}

fn repositories(target: &RoleTarget) -> String {
    match target.repo.as_deref() {
        None | Some(ALL_REPOSITORIES) => "all repositories".to_owned(),
        Some(pattern) => Printable(pattern).to_string(),
    }
}
