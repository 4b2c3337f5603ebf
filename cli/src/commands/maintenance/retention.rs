//! `retention`: shows and changes the rules by which executions are kept.

use crate::{
    args::{Retention, RetentionAction, RetentionScope, RuleArgs},
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::Write;
use tidemill_core::{
    api::path,
    retention::{
        api::{RetentionRequest, RetentionView},
        settings::{RetentionRule, RetentionSettings},
    },
};

/// `tidemill retention`.
pub async fn retention(settings: &Settings, args: &Retention) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let (view, format) = match &args.action {
        RetentionAction::Show { scope, format } => {
            (read(&deployment, repo(scope)?.as_deref()).await?, format)
        }
        RetentionAction::Set { scope, pipeline, rule, cache_days, upload_days, format } => {
            let repo = repo(scope)?;
            let mut settings = read(&deployment, repo.as_deref()).await?.settings;
            if rule_of(rule).is_empty() && cache_days.is_none() && upload_days.is_none() {
                return Err(Failure::usage("nothing to set: name a rule, such as --keep-days 90"));
            }
            let target = match pipeline {
                Some(name) => settings.pipelines.entry(name.clone()).or_default(),
                None => &mut settings.rule,
            };
            *target = rule_of(rule).over(target);
            settings.cache_days = cache_days.or(settings.cache_days);
            settings.upload_days = upload_days.or(settings.upload_days);
            (write(&deployment, repo, settings).await?, format)
        }
        RetentionAction::Clear { scope, pipeline, format } => {
            let repo = repo(scope)?;
            let mut settings = RetentionSettings::default();
            if let Some(name) = pipeline {
                settings = read(&deployment, repo.as_deref()).await?.settings;
                if settings.pipelines.remove(name).is_none() {
                    return Err(Failure::usage(format!(
                        "pipeline {} has no rule of its own",
                        Printable(name)
                    )));
                }
            }
            (write(&deployment, repo, settings).await?, format)
        }
    };
    deployment.close().await;
    if format.is_json() { Ok(output::print_json(&view)?) } else { print(&view) }
}

/// Returns the repository; `None`: the server.
fn repo(scope: &RetentionScope) -> Outcome<Option<String>> {
    if scope.everywhere { Ok(None) } else { repository::address(scope.repo.as_deref()).map(Some) }
}

async fn read(deployment: &Deployment, repo: Option<&str>) -> Outcome<RetentionView> {
    let query = repo.map(|repo| format!("?repo={}", query_encoded(repo)));
    deployment.get(&format!("{}{}", path::RETENTION, query.unwrap_or_default())).await
}

async fn write(
    deployment: &Deployment,
    repo: Option<String>,
    settings: RetentionSettings,
) -> Outcome<RetentionView> {
    deployment.post(path::RETENTION, &RetentionRequest { repo, settings }).await
}

fn rule_of(args: &RuleArgs) -> RetentionRule {
    RetentionRule {
        days: args.days,
        last: args.last,
        branch_days: args.branch_days,
        keep_tags: args.keep_tags,
        log_days: args.log_days,
        artifact_days: args.artifact_days,
    }
}

fn print(view: &RetentionView) -> Outcome {
    let mut out = output::stdout();
    let mut levels = Vec::new();
    if let Some(repo) = &view.repo {
        levels.push((repo.as_str(), &view.settings));
    }
    levels.push(("server", &view.server));
    for (name, settings) in levels {
        let mut lines = Vec::new();
        lines.extend(rule_text(&settings.rule));
        for (pipeline, rule) in &settings.pipelines {
            lines.push(format!("pipeline {}: {}", Printable(pipeline), rule_text(rule).unwrap_or_default()));
        }
        lines.extend(settings.cache_days.map(|days| format!("caches: {days} days after their last use")));
        lines.extend(settings.upload_days.map(|days| format!("uploads: {days} days after their last use")));
        if lines.is_empty() {
            lines.push("no rules".to_owned());
        }
        writeln!(out, "{}", Printable(name))?;
        for line in lines {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

/// Formats a rule; `None`: it says nothing.
fn rule_text(rule: &RetentionRule) -> Option<String> {
    let days = |what: &str, days: Option<u32>| match days {
        None => None,
        Some(0) => Some(format!("{what}: no limit")),
        Some(days) => Some(format!("{what}: {days} days")),
    };
    let parts = [
        days("executions", rule.days),
        rule.last.map(|last| format!("the last {last} of each pipeline")),
        days("newest of each branch", rule.branch_days),
        rule.keep_tags.map(|keep| if keep { "tags: for ever".into() } else { "tags: as others".to_owned() }),
        days("logs", rule.log_days),
        days("artifacts", rule.artifact_days),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::rule_text;
    use tidemill_core::retention::settings::RetentionRule;

    #[test]
    fn rule_is_shown_with_its_units() {
        assert_eq!(rule_text(&RetentionRule::default()), None);
        let rule =
            RetentionRule { days: Some(90), last: Some(5), log_days: Some(0), ..RetentionRule::default() };
        assert_eq!(
            rule_text(&rule).as_deref(),
            Some("executions: 90 days, the last 5 of each pipeline, logs: no limit")
        );
    }
}
