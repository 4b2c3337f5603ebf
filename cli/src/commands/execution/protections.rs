//! `environments protect`, `unprotect` and `protections`: who must approve jobs that name an environment.

use crate::{
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::{
    access::protection::{
        ANY_PERSON, EnvironmentProtection, ProtectEnvironmentRequest, ProtectionList,
        UnprotectEnvironmentReply, UnprotectEnvironmentRequest,
    },
    api::path,
};

/// Sets a rule.
pub async fn protect(settings: &Settings, request: &ProtectEnvironmentRequest, json: bool) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let rule: EnvironmentProtection = deployment.post(path::PROTECTIONS, request).await?;
    output::print_reply(json, &rule, || describe(&rule))?;
    deployment.close().await;
    Ok(())
}

/// Removes a rule.
pub async fn unprotect(settings: &Settings, request: &UnprotectEnvironmentRequest, json: bool) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let reply: UnprotectEnvironmentReply = deployment.post(path::UNPROTECT_ENVIRONMENT, request).await?;
    deployment.close().await;
    let (name, repo) = (Printable(&request.environment), Printable(&request.repo));
    if !reply.removed {
        return Err(Failure::usage(format!(
            "no rule protects `{name}` of {repo}; `tidemill environments protections` lists the rules"
        )));
    }
    output::print_reply(json, &reply, || format!("{name} of {repo} is no longer protected"))?;
    Ok(())
}

/// Lists the rules of a repository.
pub async fn list(settings: &Settings, repo: &str, json: bool) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let path = format!("{}?repo={}", path::PROTECTIONS, query_encoded(repo));
    let list: ProtectionList = deployment.get(&path).await?;
    deployment.close().await;
    if json {
        return Ok(output::print_json(&list)?);
    }
    let mut out = output::stdout();
    if list.protections.is_empty() {
        writeln!(out, "no environment is protected; protect one with `tidemill environments protect`")?;
    }
    for rule in &list.protections {
        writeln!(out, "{}  (set by {}, {})", describe(rule), Printable(&rule.set_by), rule.set_at)?;
    }
    Ok(out.flush()?)
}

fn describe(rule: &EnvironmentProtection) -> String {
    let number = match rule.approvals {
        1 => "1 approval".to_owned(),
        number => format!("{number} approvals"),
    };
    let by = if rule.by == [ANY_PERSON] {
        "every person who may approve".to_owned()
    } else {
        rule.by.iter().map(|one| Printable(one).to_string()).collect::<Vec<_>>().join(" or ")
    };
    let starter = if rule.exclude_starter { ", not by who started the execution" } else { "" };
    format!("{}: {number} by {by}{starter}", Printable(&rule.environment))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::describe;
    use serde_json::json;

    #[test]
    fn rule_is_described_in_a_line() {
        let rule = |approvals: u32, by: &[&str], exclude_starter: bool| {
            let rule = json!({
                "repo": "r", "environment": "production", "approvals": approvals, "by": by,
                "exclude_starter": exclude_starter, "set_at": "2026-01-02T03:04:05Z", "set_by": "ann"
            });
            describe(&serde_json::from_value(rule).unwrap())
        };
        assert_eq!(rule(1, &["user:*"], false), "production: 1 approval by every person who may approve");
        assert_eq!(
            rule(2, &["group:github:acme/ops", "token:release"], true),
            "production: 2 approvals by group:github:acme/ops or token:release, not by who started the execution"
        );
    }
}
