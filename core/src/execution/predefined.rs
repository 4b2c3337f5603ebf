//! The predefined variables of every job: Tidemill's own, and GitLab's `CI_...`, so that scripts and conditions written
//! for GitLab keep working. `GITLAB_CI` is not set, because this is not GitLab.
//!
//! As in GitLab, a variable without a value is not set: there is no `CI_COMMIT_BRANCH` for a tag or a pull request.

use indexmap::IndexMap;

use crate::execution::facts::{Facts, Trigger};
use crate::repository::RepositoryName;

/// The directory of a job's sources in its container.
pub const WORKSPACE_DIR: &str = "/workspace";

/// Maximum length of a slug: that of a host name label.
const MAX_SLUG_LEN: usize = 63;
const SHORT_SHA_LEN: usize = 8;

/// The variables known before an execution is planned, which conditions and references may use.
pub const EXECUTION_VARIABLES: [&str; 22] = [
    "CI",
    "CI_PIPELINE_NAME",
    "CI_PIPELINE_SOURCE",
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
    "CI_DEFAULT_BRANCH",
    "CI_MERGE_REQUEST_ID",
    "CI_MERGE_REQUEST_IID",
    "CI_MERGE_REQUEST_TITLE",
    "CI_MERGE_REQUEST_DRAFT",
    "CI_MERGE_REQUEST_EVENT_TYPE",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
];

/// The variables that only a job has.
pub const JOB_VARIABLES: [&str; 17] = [
    "CI_PIPELINE_ID",
    "CI_PIPELINE_IID",
    "CI_JOB_ID",
    "CI_JOB_NAME",
    "CI_JOB_NAME_SLUG",
    "CI_JOB_STAGE",
    "CI_NODE_TOTAL",
    "CI_PROJECT_DIR",
    "CI_PROJECT_NAME",
    "CI_PROJECT_PATH",
    "CI_PROJECT_PATH_SLUG",
    "CI_PROJECT_NAMESPACE",
    "CI_PROJECT_TITLE",
    "CI_REPOSITORY_URL",
    "CI_ENVIRONMENT_NAME",
    "CI_ENVIRONMENT_SLUG",
    "CI_ENVIRONMENT_URL",
];

/// Whether conditions and references may use `name`.
#[must_use]
pub fn is_execution_variable(name: &str) -> bool {
    EXECUTION_VARIABLES.contains(&name)
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
    set("CI_PIPELINE_NAME", Some(pipeline));
    set("CI_PIPELINE_SOURCE", Some(source(facts)));
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
    set("CI_DEFAULT_BRANCH", facts.default_branch.as_deref());
    if let Some(request) = request {
        let number = request.number.to_string();
        set("CI_MERGE_REQUEST_ID", Some(&number));
        set("CI_MERGE_REQUEST_IID", Some(&number));
        set("CI_MERGE_REQUEST_TITLE", Some(&request.title));
        set("CI_MERGE_REQUEST_DRAFT", Some(if request.draft { "true" } else { "false" }));
        set("CI_MERGE_REQUEST_EVENT_TYPE", Some("detached"));
        set("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", branch);
        set("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", commit);
        set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", Some(&request.target_branch));
    }
    all
}

/// Returns GitLab's name for the trigger.
fn source(facts: &Facts) -> &'static str {
    match facts.trigger {
        Trigger::Push => "push",
        Trigger::PullRequest => "merge_request_event",
        Trigger::Schedule => "schedule",
        // In GitLab, users start pipelines on a web page.
        Trigger::Manual | Trigger::Retry => "web",
    }
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
    /// The repository.
    pub repo: &'a str,
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

/// Returns all predefined variables of a job.
#[must_use]
pub fn job_variables(job: &JobContext<'_>) -> IndexMap<String, String> {
    let mut all = execution_variables(job.facts, job.pipeline);
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    set("TIDEMILL", "true");
    set("TIDEMILL_EXECUTION_ID", job.execution);
    set("TIDEMILL_RUN_NUMBER", &job.run_number.to_string());
    set("TIDEMILL_PIPELINE", job.pipeline);
    set("TIDEMILL_REPO", job.repo);
    set("TIDEMILL_BRANCH", job.facts.branch.as_deref().unwrap_or_default());
    set("TIDEMILL_COMMIT", job.facts.commit.as_deref().unwrap_or_default());
    set("TIDEMILL_JOB_ID", job.job);
    set("TIDEMILL_JOB", job.name);
    set("TIDEMILL_STAGE", job.stage);
    set("TIDEMILL_ATTEMPT", &job.attempt.to_string());
    set("CI_PIPELINE_ID", job.execution);
    set("CI_PIPELINE_IID", &job.run_number.to_string());
    set("CI_JOB_ID", job.job);
    set("CI_JOB_NAME", job.name);
    set("CI_JOB_NAME_SLUG", &slug(job.name));
    set("CI_JOB_STAGE", job.stage);
    set("CI_NODE_TOTAL", "1");
    set("CI_PROJECT_DIR", WORKSPACE_DIR);
    let (namespace, name) = project(job.repo);
    let path = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    set("CI_PROJECT_NAME", &name);
    set("CI_PROJECT_TITLE", &name);
    set("CI_PROJECT_NAMESPACE", &namespace);
    set("CI_PROJECT_PATH", &path);
    set("CI_PROJECT_PATH_SLUG", &slug(&path));
    set("CI_REPOSITORY_URL", job.repo);
    if let Some((name, url)) = job.environment {
        set("CI_ENVIRONMENT_NAME", name);
        set("CI_ENVIRONMENT_SLUG", &slug(name));
        if let Some(url) = url {
            set("CI_ENVIRONMENT_URL", url);
        }
    }
    all
}

/// Returns the group and the name of a repository: those of `https://host/group/name.git` and of `host:group/name`. A
/// directory has no group.
fn project(repo: &str) -> (String, String) {
    let last = |path: &str| (String::new(), path.rsplit('/').next().unwrap_or(path).to_owned());
    match RepositoryName::parse(repo) {
        Ok(RepositoryName::Network(name)) => {
            let path = name.split_once('/').map_or(name.as_str(), |(_, path)| path);
            let (group, name) = path.rsplit_once('/').unwrap_or(("", path));
            (group.to_owned(), name.to_owned())
        }
        Ok(RepositoryName::Directory(path)) => last(&path),
        Ok(RepositoryName::Label(label)) => last(&label),
        Err(_) => last(repo),
    }
}

/// Returns a name in the form of a host name label: lowercase letters, digits and hyphens, at most 63.
#[must_use]
pub fn slug(name: &str) -> String {
    let normalize = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(normalize).take(MAX_SLUG_LEN).collect();
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        EXECUTION_VARIABLES, JOB_VARIABLES, JobContext, execution_variables, job_variables, project, slug,
    };
    use crate::execution::facts::Trigger;
    use crate::execution::facts::{Facts, PullRequest};

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
        let request = PullRequest { number: 7, target_branch: "main".to_owned(), ..PullRequest::default() };
        let facts = Facts { trigger: Trigger::PullRequest, pull_request: Some(request), ..on_branch() };
        let request = execution_variables(&facts, "ci");
        assert_eq!(request["CI_MERGE_REQUEST_IID"], "7");
        assert_eq!(request["CI_PIPELINE_SOURCE"], "merge_request_event");
        assert!(!request.contains_key("CI_COMMIT_BRANCH"));
        assert!(request.keys().all(|name| EXECUTION_VARIABLES.contains(&name.as_str())));
    }

    #[test]
    fn job_has_exactly_the_listed_ci_variables() {
        let facts = on_branch();
        let job = JobContext {
            facts: &facts,
            execution: "e",
            run_number: 3,
            pipeline: "ci",
            repo: "https://git.example.org/group/sub/app.git",
            job: "j",
            name: "unit [v=1]",
            stage: "test",
            environment: Some(("review/x", Some("https://x.example.org"))),
            attempt: 1,
        };
        let all = job_variables(&job);
        for name in JOB_VARIABLES {
            assert!(all.contains_key(name), "{name}");
        }
        let known = |name: &str| JOB_VARIABLES.contains(&name) || EXECUTION_VARIABLES.contains(&name);
        assert!(all.keys().all(|name| !name.starts_with("CI") || known(name)), "{all:?}");
        assert_eq!(all["CI_PROJECT_PATH"], "group/sub/app");
        assert_eq!(all["CI_JOB_NAME_SLUG"], "unit--v-1");
        assert!(!all.contains_key("GITLAB_CI"));
    }

    #[test]
    fn projects_and_slugs_follow_from_addresses_and_names() {
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
        assert_eq!(slug(&format!("-{}", "Ä".repeat(100))), "");
        assert_eq!(slug(&"a".repeat(100)).len(), 63);
    }
}
