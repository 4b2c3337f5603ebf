//! The predefined variables of every job: Tidemill's own, and GitLab's `CI_...`, for scripts and conditions written for it.
//!
//! As in GitLab, a variable without a value is not set: there is no `CI_COMMIT_BRANCH` for a tag or a pull request.

mod project;
mod server;

use crate::execution::facts::{Facts, PullRequest, Trigger};
use crate::ids::job_token::GITLAB_JOB_TOKEN;
use crate::summary::markdown::{SUMMARY_FILE, SUMMARY_VARIABLE};
use crate::text::slug::{environment_slug, environment_tier, slug};
use indexmap::IndexMap;
use project::set_project;

/// The directory of a job's sources in its container.
pub const WORKSPACE_DIR: &str = "/workspace";

const SHORT_SHA_LEN: usize = 8;

/// The variables known before an execution is planned, which conditions and references may use.
pub const EXECUTION_VARIABLES: [&str; 54] = [
    "CI",
    "GITLAB_CI",
    "CI_SERVER",
    "CI_SERVER_HOST",
    "CI_SERVER_PORT",
    "CI_SERVER_FQDN",
    "CI_SERVER_PROTOCOL",
    "CI_SERVER_URL",
    "CI_PIPELINE_NAME",
    "CI_PIPELINE_SOURCE",
    "CI_PIPELINE_SCHEDULE_DESCRIPTION",
    "CI_COMMIT_SHA",
    "CI_COMMIT_SHORT_SHA",
    "CI_COMMIT_MESSAGE",
    "CI_COMMIT_TITLE",
    "CI_COMMIT_DESCRIPTION",
    "CI_COMMIT_AUTHOR",
    "CI_COMMIT_BRANCH",
    "CI_COMMIT_TAG",
    "CI_COMMIT_REF_NAME",
    "CI_COMMIT_REF_SLUG",
    "CI_COMMIT_REF_PROTECTED",
    "CI_DEFAULT_BRANCH",
    "CI_DEFAULT_BRANCH_SLUG",
    "CI_PROJECT_ID",
    "CI_PROJECT_NAME",
    "CI_PROJECT_PATH",
    "CI_PROJECT_PATH_SLUG",
    "CI_PROJECT_NAMESPACE",
    "CI_PROJECT_NAMESPACE_SLUG",
    "CI_PROJECT_ROOT_NAMESPACE",
    "CI_PROJECT_TITLE",
    "CI_PROJECT_URL",
    "CI_REPOSITORY_URL",
    "CI_REGISTRY",
    "CI_REGISTRY_IMAGE",
    "CI_MERGE_REQUEST_ID",
    "CI_MERGE_REQUEST_IID",
    "CI_MERGE_REQUEST_TITLE",
    "CI_MERGE_REQUEST_DRAFT",
    "CI_MERGE_REQUEST_EVENT_TYPE",
    "CI_MERGE_REQUEST_LABELS",
    "CI_MERGE_REQUEST_REF_PATH",
    "CI_MERGE_REQUEST_PROJECT_ID",
    "CI_MERGE_REQUEST_PROJECT_PATH",
    "CI_MERGE_REQUEST_PROJECT_URL",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_URL",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_PROTECTED",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED",
];

/// The variables of a job that are known when it is planned, which its references may use.
pub const PLANNED_VARIABLES: [&str; 9] = [
    "CI_JOB_NAME",
    "CI_JOB_NAME_SLUG",
    "CI_JOB_STAGE",
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
    "CI_ENVIRONMENT_NAME",
    "CI_ENVIRONMENT_SLUG",
    "CI_ENVIRONMENT_TIER",
    "CI_ENVIRONMENT_ACTION",
];

/// The variables that only a running job has.
pub const JOB_VARIABLES: [&str; 7] = [
    "CI_PIPELINE_ID",
    "CI_PIPELINE_IID",
    "CI_PIPELINE_URL",
    "CI_JOB_ID",
    "CI_JOB_URL",
    "CI_PROJECT_DIR",
    "CI_ENVIRONMENT_URL",
];

/// The variables of a running job that are not among [`job_variables`]: its worker sets its status, and its assignment has the
/// login at its registry and its token as secrets.
pub const LATE_VARIABLES: [&str; 4] =
    ["CI_JOB_STATUS", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD", GITLAB_JOB_TOKEN];

/// Whether conditions and references may use `name`.
#[must_use]
pub fn is_execution_variable(name: &str) -> bool {
    EXECUTION_VARIABLES.contains(&name)
}

/// Whether references in the texts of a job may use `name`.
#[must_use]
pub fn is_reference(name: &str) -> bool {
    is_execution_variable(name) || PLANNED_VARIABLES.contains(&name)
}

/// Whether jobs may have a predefined variable `name`.
#[must_use]
pub fn is_predefined(name: &str) -> bool {
    is_reference(name) || JOB_VARIABLES.contains(&name) || LATE_VARIABLES.contains(&name)
}

/// Returns the variables of an execution of `pipeline` that are known before it is planned.
#[must_use]
pub fn execution_variables(facts: &Facts, pipeline: &str) -> IndexMap<String, String> {
    let mut all = IndexMap::new();
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value.to_owned());
        }
    };
    set("CI", Some("true"));
    // Tools and scripts ask for it to learn that the other variables are there.
    set("GITLAB_CI", Some("true"));
    set("CI_SERVER", Some("yes"));
    set("CI_PIPELINE_NAME", Some(pipeline));
    set("CI_PIPELINE_SOURCE", Some(source(facts)));
    set("CI_PIPELINE_SCHEDULE_DESCRIPTION", facts.schedule.as_deref());
    let commit = facts.commit.as_deref();
    set("CI_COMMIT_SHA", commit);
    set("CI_COMMIT_SHORT_SHA", commit.map(|commit| commit.get(..SHORT_SHA_LEN).unwrap_or(commit)));
    let message = facts.details.message.as_deref();
    set("CI_COMMIT_MESSAGE", message);
    set("CI_COMMIT_TITLE", facts.details.title());
    // GitLab leaves out a title of up to 100 characters.
    let is_short = facts.details.title().is_some_and(|title| title.chars().count() <= 100);
    let rest =
        message.map(|message| message.split_once('\n').map_or("", |(_, rest)| rest).trim_start_matches('\n'));
    set("CI_COMMIT_DESCRIPTION", if is_short { rest } else { message });
    set("CI_COMMIT_AUTHOR", facts.details.author.as_deref());
    let request = facts.pull_request.as_ref();
    let branch = facts.branch.as_deref();
    let reference = facts.tag.as_deref().or(branch);
    set("CI_COMMIT_BRANCH", branch.filter(|_| request.is_none() && facts.tag.is_none()));
    set("CI_COMMIT_TAG", facts.tag.as_deref());
    set("CI_COMMIT_REF_NAME", reference);
    set("CI_COMMIT_REF_SLUG", reference.map(slug).as_deref());
    set("CI_COMMIT_REF_PROTECTED", Some(flag(facts.is_protected())));
    set("CI_DEFAULT_BRANCH", facts.default_branch.as_deref());
    set("CI_DEFAULT_BRANCH_SLUG", facts.default_branch.as_deref().map(slug).as_deref());
    set_project(facts, &mut all);
    if let Some(request) = request {
        set_request(request, facts, &mut all);
    }
    all
}

const fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Sets the variables about a pull request. Those about a fork's repository are not known.
fn set_request(request: &PullRequest, facts: &Facts, all: &mut IndexMap<String, String>) {
    let number = request.number.to_string();
    let is_default = facts.default_branch.as_ref() == Some(&request.target_branch);
    let mut pairs = vec![
        ("CI_MERGE_REQUEST_ID", number.clone()),
        ("CI_MERGE_REQUEST_REF_PATH", format!("refs/merge-requests/{number}/head")),
        ("CI_MERGE_REQUEST_IID", number),
        ("CI_MERGE_REQUEST_TITLE", request.title.clone()),
        ("CI_MERGE_REQUEST_DRAFT", flag(request.draft).to_owned()),
        ("CI_MERGE_REQUEST_EVENT_TYPE", "detached".to_owned()),
        ("CI_MERGE_REQUEST_SOURCE_BRANCH_PROTECTED", "false".to_owned()),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", request.target_branch.clone()),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED", flag(is_default).to_owned()),
    ];
    if !request.labels.is_empty() {
        pairs.push(("CI_MERGE_REQUEST_LABELS", request.labels.join(",")));
    }
    pairs.extend(facts.branch.clone().map(|branch| ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", branch)));
    pairs.extend(facts.commit.clone().map(|commit| ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", commit)));
    for (target, source, of) in [
        ("CI_MERGE_REQUEST_PROJECT_ID", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_PROJECT_ID"),
        ("CI_MERGE_REQUEST_PROJECT_PATH", "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "CI_PROJECT_PATH"),
        ("CI_MERGE_REQUEST_PROJECT_URL", "CI_MERGE_REQUEST_SOURCE_PROJECT_URL", "CI_PROJECT_URL"),
    ] {
        let Some(value) = all.get(of) else { continue };
        pairs.push((target, value.clone()));
        if !request.from_fork {
            pairs.push((source, value.clone()));
        }
    }
    all.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)));
}

/// Returns GitLab's name for the trigger.
fn source(facts: &Facts) -> &'static str {
    match facts.trigger {
        // The queue pushes a branch, and the release a tag.
        Trigger::Push | Trigger::MergeGroup | Trigger::Release => "push",
        Trigger::PullRequest | Trigger::Comment => "merge_request_event",
        Trigger::Pipeline => "pipeline",
        Trigger::Schedule => "schedule",
        Trigger::ParentPipeline => "parent_pipeline",
        // In GitLab, users start pipelines on a web page.
        Trigger::Manual | Trigger::Retry => "web",
    }
}

/// A job as it is planned.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlannedNames<'a> {
    /// Its name, including matrix values.
    pub name: &'a str,
    /// Its stage.
    pub stage: &'a str,
    /// The position of the variant among those of its matrix, from 1, and their number.
    pub node: Option<(usize, usize)>,
    /// The name of its environment.
    pub environment: Option<&'a str>,
}

/// Returns the variables of a job that are known when it is planned.
#[must_use]
pub fn planned_variables(job: PlannedNames<'_>) -> IndexMap<String, String> {
    let mut all = IndexMap::new();
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    set("CI_JOB_NAME", job.name);
    set("CI_JOB_NAME_SLUG", &slug(job.name));
    set("CI_JOB_STAGE", job.stage);
    match job.node {
        Some((index, total)) => {
            set("CI_NODE_INDEX", &index.to_string());
            set("CI_NODE_TOTAL", &total.to_string());
        }
        None => set("CI_NODE_TOTAL", "1"),
    }
    if let Some(name) = job.environment {
        set("CI_ENVIRONMENT_NAME", name);
        set("CI_ENVIRONMENT_SLUG", &environment_slug(name));
        set("CI_ENVIRONMENT_TIER", environment_tier(name));
        set("CI_ENVIRONMENT_ACTION", "start");
    }
    all
}

/// A job that is about to run.
#[derive(Debug, Clone, Copy)]
pub struct JobContext<'a> {
    /// The facts of its execution.
    pub facts: &'a Facts,
    /// The execution's id.
    pub execution: &'a str,
    /// The execution's run number.
    pub run_number: u64,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The address of the execution's page, if the server knows its own.
    pub url: Option<&'a str>,
    /// The job's id.
    pub job: &'a str,
    /// Its name, including matrix values.
    pub name: &'a str,
    /// Its stage.
    pub stage: &'a str,
    /// The name and the URL of its environment.
    pub environment: Option<(&'a str, Option<&'a str>)>,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

/// Returns the predefined variables of a job, except those of its place in a matrix, which its plan has.
#[must_use]
pub fn job_variables(job: &JobContext<'_>) -> IndexMap<String, String> {
    let mut all = execution_variables(job.facts, job.pipeline);
    let environment = job.environment.map(|(name, _)| name);
    all.extend(planned_variables(PlannedNames { name: job.name, stage: job.stage, node: None, environment }));
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    set("TIDEMILL", "true");
    set("TIDEMILL_EXECUTION_ID", job.execution);
    set("TIDEMILL_RUN_NUMBER", &job.run_number.to_string());
    set("TIDEMILL_PIPELINE", job.pipeline);
    set("TIDEMILL_REPO", &job.facts.repo);
    set("TIDEMILL_BRANCH", job.facts.branch.as_deref().unwrap_or_default());
    set("TIDEMILL_COMMIT", job.facts.commit.as_deref().unwrap_or_default());
    set("TIDEMILL_JOB_ID", job.job);
    set("TIDEMILL_JOB", job.name);
    set("TIDEMILL_STAGE", job.stage);
    set("TIDEMILL_ATTEMPT", &job.attempt.to_string());
    set(SUMMARY_VARIABLE, SUMMARY_FILE);
    set("CI_PIPELINE_ID", job.execution);
    set("CI_PIPELINE_IID", &job.run_number.to_string());
    set("CI_JOB_ID", job.job);
    set("CI_PROJECT_DIR", WORKSPACE_DIR);
    if let Some(url) = job.url {
        set("CI_PIPELINE_URL", url);
        set("CI_JOB_URL", &crate::api::page::job_page(url, job.name));
    }
    if let Some((_, Some(url))) = job.environment {
        set("CI_ENVIRONMENT_URL", url);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{
        EXECUTION_VARIABLES, JOB_VARIABLES, JobContext, PLANNED_VARIABLES, execution_variables,
        is_predefined, job_variables,
        project::{project, project_id},
    };
    use crate::execution::facts::{Facts, PullRequest, Trigger};

    fn on_branch() -> Facts {
        Facts {
            trigger: Trigger::Push,
            branch: Some("Feature/Log-In".to_owned()),
            commit: Some("0123456789abcdef".to_owned()),
            default_branch: Some("main".to_owned()),
            ..Facts::default()
        }
    }

    #[test]
    fn branch_tag_and_merge_request_variables_match_gitlab() {
        let branch = execution_variables(&on_branch(), "ci");
        assert_eq!(branch["CI_COMMIT_BRANCH"], "Feature/Log-In");
        assert_eq!(branch["CI_COMMIT_REF_SLUG"], "feature-log-in");
        assert_eq!(branch["CI_COMMIT_SHORT_SHA"], "01234567");
        assert_eq!(branch["CI_PIPELINE_SOURCE"], "push");
        assert!(!branch.contains_key("CI_COMMIT_TAG") && !branch.contains_key("CI_MERGE_REQUEST_IID"));
        let tag =
            execution_variables(&Facts { branch: None, tag: Some("v1.2".to_owned()), ..on_branch() }, "ci");
        assert_eq!((tag["CI_COMMIT_TAG"].as_str(), tag["CI_COMMIT_REF_SLUG"].as_str()), ("v1.2", "v1-2"));
        assert!(!tag.contains_key("CI_COMMIT_BRANCH"));
        let labels = vec!["bug".to_owned(), "full".to_owned()];
        let request =
            PullRequest { number: 7, target_branch: "main".to_owned(), labels, ..PullRequest::default() };
        let facts = Facts { trigger: Trigger::PullRequest, pull_request: Some(request), ..on_branch() };
        let request = execution_variables(&facts, "ci");
        assert_eq!(request["CI_MERGE_REQUEST_IID"], "7");
        assert_eq!(request["CI_MERGE_REQUEST_LABELS"], "bug,full");
        assert_eq!(request["CI_PIPELINE_SOURCE"], "merge_request_event");
        assert!(!request.contains_key("CI_COMMIT_BRANCH"));
        assert!(request.keys().all(|name| EXECUTION_VARIABLES.contains(&name.as_str())));
    }

    #[test]
    fn job_has_exactly_the_listed_ci_variables() {
        let repo = "https://git.example.org/group/sub/app.git".to_owned();
        let facts = Facts { repo, registry: Some("registry.example.org:5000".to_owned()), ..on_branch() };
        let job = JobContext {
            facts: &facts,
            execution: "e",
            run_number: 3,
            pipeline: "ci",
            url: Some("https://ci.example.org/executions/e"),
            job: "j",
            name: "unit [v=1]",
            stage: "test",
            environment: Some(("review/x", Some("https://x.example.org"))),
            attempt: 1,
        };
        let all = job_variables(&job);
        for name in JOB_VARIABLES.into_iter().chain(PLANNED_VARIABLES).filter(|name| *name != "CI_NODE_INDEX")
        {
            assert!(all.contains_key(name), "{name}");
        }
        assert!(all.keys().all(|name| !name.starts_with("CI") || is_predefined(name)), "{all:?}");
        for (name, value) in [
            ("CI_PROJECT_PATH", "group/sub/app"),
            ("CI_PROJECT_NAMESPACE", "group/sub"),
            ("CI_PROJECT_ROOT_NAMESPACE", "group"),
            ("CI_PROJECT_URL", "https://git.example.org/group/sub/app"),
            ("CI_REGISTRY", "registry.example.org:5000"),
            ("CI_REGISTRY_IMAGE", "registry.example.org:5000/group/sub/app"),
            ("CI_JOB_NAME_SLUG", "unit--v-1"),
            ("CI_JOB_URL", "https://ci.example.org/executions/e/jobs/unit%20%5Bv%3D1%5D"),
            ("CI_ENVIRONMENT_TIER", "development"),
            ("CI_COMMIT_REF_PROTECTED", "false"),
            ("GITLAB_CI", "true"),
        ] {
            assert_eq!(all[name], value, "{name}");
        }
    }

    #[test]
    fn project_id_is_that_of_the_repository() {
        let id = project_id("https://git.example.org/a/b.git");
        assert!(
            id > 0
                && id == project_id("git@git.example.org:a/b")
                && id != project_id("https://git.example.org/a/c")
        );
    }

    #[test]
    fn only_the_default_branch_is_protected() {
        let protected = |facts: &Facts| execution_variables(facts, "ci")["CI_COMMIT_REF_PROTECTED"].clone();
        let main = Facts { branch: Some("main".to_owned()), ..on_branch() };
        assert_eq!(protected(&main), "true");
        assert_eq!(protected(&on_branch()), "false");
        assert_eq!(protected(&Facts { tag: Some("v1".to_owned()), ..main.clone() }), "false");
        assert_eq!(protected(&Facts { pull_request: Some(PullRequest::default()), ..main }), "false");
    }

    #[test]
    fn projects_follow_from_addresses() {
        for (repo, namespace, name) in [
            ("https://host/a/b.git", "a", "b"),
            ("git@host:a/b/c.git", "a/b", "c"),
            ("ssh://git@host:22/a/b", "a", "b"),
            ("/home/me/app/", "", "app"),
            ("file:///srv/git/app.git", "", "app"),
            ("./app", "", "app"),
            ("", "", ""),
        ] {
            assert_eq!(project(repo), (namespace.to_owned(), name.to_owned()), "{repo}");
        }
    }
}
