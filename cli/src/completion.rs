//! Completion of values in the shell: pipelines, jobs, executions, repositories, scopes and profiles.
//!
//! The shell runs this program with `TIDEMILL_COMPLETE` set. It prints candidates and exits; errors print nothing.

use crate::{
    args::{Cli, SelectorArgs},
    deployment::Deployment,
    execution::select,
    failure::Outcome,
    pipeline::{
        elsewhere::Elsewhere,
        file::{self, FileContext, FileFormat},
    },
    settings::{Settings, Target},
};
use clap::{Command, CommandFactory, Parser};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCandidates, CompletionCandidate},
};
use std::{collections::BTreeSet, time::Duration};
use tidemill_core::{
    access::Scope,
    api::ExecutionSummary,
    pipeline::Pipeline,
    text::{is_control, is_invisible},
};

/// The variable with which the shell asks for candidates.
pub const VARIABLE: &str = crate::env_vars::COMPLETE;
/// Maximum time for which the shell waits for a server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of executions to offer.
const MAX_EXECUTIONS: u32 = 30;
/// Maximum number of executions whose repositories are offered.
const MAX_LISTED: u32 = 200;

/// If the shell asks for candidates, prints them and exits.
pub fn answer_shell() {
    CompleteEnv::with_factory(|| with_candidates(Cli::command())).var(VARIABLE).complete();
}

/// Adds the candidates of values to a command and its subcommands.
fn with_candidates(command: Command) -> Command {
    let has_jobs = command.get_arguments().any(|arg| arg.get_id() == "job");
    let command = command.mut_args(|arg| {
        let candidates = match arg.get_id().as_str() {
            "pipeline" => ArgValueCandidates::new(pipelines),
            "only" | "from" | "follow" | "job" | "approve" => ArgValueCandidates::new(jobs),
            "execution" if has_jobs => {
                ArgValueCandidates::new(|| executions().into_iter().chain(jobs()).collect())
            }
            "execution" | "executions" => ArgValueCandidates::new(executions),
            "repo" => ArgValueCandidates::new(repositories),
            "scopes" => ArgValueCandidates::new(scopes),
            "profile" => ArgValueCandidates::new(profiles),
            _ => return arg,
        };
        arg.add(candidates)
    });
    command.mut_subcommands(with_candidates)
}

/// Returns the valid pipelines of the current repository.
fn files() -> Vec<Pipeline> {
    let read = |path: std::path::PathBuf| {
        let text = file::read(&path).ok()?;
        let format = FileFormat::of(&path, false, true);
        let context = FileContext { elsewhere: Elsewhere::offline(), ..FileContext::default() };
        let assembled = file::assemble(&path, &text, format, &context).ok()?;
        Some(assembled.parsed.pipeline)
    };
    file::pipeline_files().unwrap_or_default().into_iter().filter_map(read).collect()
}

fn pipelines() -> Vec<CompletionCandidate> {
    candidates(files().into_iter().map(|pipeline| pipeline.name))
}

fn jobs() -> Vec<CompletionCandidate> {
    let names: BTreeSet<String> =
        files().into_iter().flat_map(|pipeline| pipeline.jobs).map(|job| job.name).collect();
    candidates(names)
}

fn scopes() -> Vec<CompletionCandidate> {
    Scope::ALL.iter().map(|scope| CompletionCandidate::new(scope.as_str())).collect()
}

fn profiles() -> Vec<CompletionCandidate> {
    let Ok(profiles) = settings().and_then(|settings| settings.profiles()) else { return Vec::new() };
    candidates(profiles.names().map(str::to_owned).chain(["local".to_owned()]))
}

fn executions() -> Vec<CompletionCandidate> {
    let listed = list(false, MAX_EXECUTIONS);
    let candidate = |execution: &ExecutionSummary| {
        let number = execution.run_number;
        let is_unique = listed.iter().filter(|other| other.run_number == number).count() == 1;
        let value = if is_unique { number.to_string() } else { execution.id.to_string() };
        let branch = execution.branch.as_deref().unwrap_or("-");
        let help = format!("{} {} {branch}", execution.pipeline_name, execution.status.as_str());
        CompletionCandidate::new(value).help(Some(crate::output::printable(&help).into()))
    };
    listed.iter().map(candidate).collect()
}

fn repositories() -> Vec<CompletionCandidate> {
    let repos: BTreeSet<String> =
        list(true, MAX_LISTED).into_iter().map(|execution| execution.repo).collect();
    candidates(repos)
}

/// Returns the candidates for values, which may come from a repository or a server: the shell must not take a part of one for a
/// command.
fn candidates(values: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let shell = std::env::var(VARIABLE).unwrap_or_default();
    values.into_iter().filter_map(|value| quoted_for(&shell, &value)).map(CompletionCandidate::new).collect()
}

/// Quotes a value if the shell inserts it into the command line as it is. `None`: it cannot be offered.
fn quoted_for(shell: &str, value: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.is_empty() || value.contains(|c| is_control(c) || is_invisible(c)) {
        return None;
    }
    match shell {
        "bash" => {
            let escaped = |c: char| [Some('\\').filter(|_| !is_plain(c)), Some(c)];
            Some(value.chars().flat_map(escaped).flatten().collect())
        }
        // They quote what they insert.
        "zsh" | "fish" | "elvish" => Some(value.to_owned()),
        _ => value.chars().all(is_plain).then(|| value.to_owned()),
    }
}

/// Returns the settings of a command without options.
fn settings() -> Outcome<Settings> {
    let cli = Cli::try_parse_from(["tidemill", "status"])
        .map_err(|error| crate::failure::Failure::usage(error.to_string()))?;
    let mut settings = Settings::resolve(&cli)?;
    if let Target::Deployment { default_profile, .. } = &mut settings.target {
        // No message about the profile.
        *default_profile = None;
    }
    Ok(settings)
}

/// Returns the newest executions of one or all repositories; none if that takes too long.
fn list(all_repositories: bool, limit: u32) -> Vec<ExecutionSummary> {
    let Ok(settings) = settings() else { return Vec::new() };
    let has_records = settings.data_dir().is_ok_and(|directory| directory.join("tidemill.db").exists());
    if !settings.is_remote() && !has_records {
        return Vec::new();
    }
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return Vec::new() };
    let listed = async {
        let deployment = Deployment::connect(&settings).await?;
        let listed =
            select::list(&deployment, &SelectorArgs::default(), all_repositories, false, limit).await;
        deployment.close().await;
        listed
    };
    // A timer needs the runtime, so it is created inside of it.
    let listed = runtime.block_on(async { tokio::time::timeout(TIMEOUT, listed).await });
    runtime.shutdown_background();
    listed.map(Result::unwrap_or_default).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quoted_for;

    #[test]
    fn candidates_are_words_of_the_shell() {
        let quoted = |shell, value| quoted_for(shell, value).unwrap_or_default();
        assert_eq!(quoted("bash", "https://h/a.git"), "https://h/a.git");
        assert_eq!(quoted("bash", "unit test"), "unit\\ test");
        assert_eq!(quoted("bash", "x;$(touch y)`z`*'\""), "x\\;\\$\\(touch\\ y\\)\\`z\\`\\*\\'\\\"");
        assert_eq!(quoted("zsh", "x; y"), "x; y");
        assert_eq!(
            (quoted("powershell", "x; y"), quoted("powershell", "x-y")),
            (String::new(), "x-y".into())
        );
        for value in ["", "a\nb", "a\u{1b}[2J", "a\u{202e}b"] {
            assert_eq!(quoted_for("bash", value), None, "{value:?}");
            assert_eq!(quoted_for("zsh", value), None, "{value:?}");
        }
    }
}
