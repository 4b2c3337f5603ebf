//! The `tidemill` command. It is a library, so that the compiler reads it while it still generates the code of the workers.

mod args;
mod commands;
mod completion;
#[cfg(feature = "aws")]
mod deploy;
mod deployment;
mod env_vars;
mod execution;
mod failure;
mod interrupts;
mod manual;
mod output;
mod pipeline;
mod settings;
mod view;
mod workers;

use args::{Cli, Command, LogFormat, ServerArgs};
use commands::{
    administration::{
        audit, badge, dead_letters, export, login, registry, repo, roles, secret, sessions, token, variable,
    },
    execution::{
        approve, artifacts, cancel, debug, environments, insights, logs, open, report, retry, run, status,
        watch,
    },
    maintenance,
    pipeline::{check, import, init, plan},
    serving::{server, worker},
};
use failure::{Exit, Failure, Outcome};
use output::{LogStyle, Logging};
use settings::Settings;
use std::{io::Write, process::ExitCode};

/// Runs the command line of this process, and returns its exit code.
pub fn main() -> ExitCode {
    completion::answer_shell();
    let is_json = Cli::asks_for_json(std::env::args_os());
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(error) => return exit_code(print_usage(&error, is_json), false),
    };
    let logging = init_logging(&cli);
    let outcome = match &cli.command {
        // Their work does not depend on who reads their output.
        Command::Server(_) | Command::Worker(_) => dispatch(&cli, logging),
        _ => dispatch(&cli, logging).and_then(|()| Ok(output::failed_line()?)),
    };
    exit_code(outcome, is_json)
}

/// Reports a failure, with `is_json` also as JSON on standard output, and returns the exit code.
fn exit_code(outcome: Outcome, is_json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(output::stderr(), "tidemill: {}", failure.message);
                if is_json {
                    print_json_error(&failure.message, failure.exit);
                }
            }
            failure.exit.into()
        }
    }
}

/// Prints the error of a command as JSON, unless its result was printed already.
fn print_json_error(message: &str, exit: Exit) {
    if !output::has_document() {
        let error = serde_json::json!({ "error": { "message": message, "exit_code": exit as u8 } });
        // The exit code says that the command failed.
        let _ = output::print_json_line(&error);
    }
}

/// Prints help or a usage error, which repeats arguments: they must not control the terminal.
fn print_usage(error: &clap::Error, is_json: bool) -> Outcome {
    let text = error.render();
    if !error.use_stderr() {
        let mut out = output::stdout();
        write!(out, "{}", text.ansi())?;
        return Ok(out.flush()?);
    }
    // The text is no use without its line breaks.
    let _ = write!(output::stderr(), "{}", text.ansi());
    if is_json {
        print_json_error(text.to_string().trim_end(), Exit::Usage);
    }
    Err(Failure::silent(Exit::Usage))
}

fn dispatch(cli: &Cli, logging: Logging) -> Outcome {
    match &cli.command {
        Command::Check(args) => check::check(args, server_settings(cli, &args.remote)?.as_ref()),
        Command::Plan(args) => plan::plan(args, server_settings(cli, &args.remote)?.as_ref()),
        Command::Import(args) => import::import(args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            let shells = clap_complete::env::Shells::builtins();
            if let Some(completer) = shells.completer(&shell.to_string()) {
                completer.write_registration(
                    completion::VARIABLE,
                    "tidemill",
                    "tidemill",
                    "tidemill",
                    &mut text,
                )?;
            }
            write_page(&text)
        }
        Command::Version { format } => commands::version::version(*format),
        Command::Man(args) => write_page(&manual::page(args)?),
        // It only starts, waits for and ends the processes of one job; nothing of the settings matters to it.
        Command::Supervise => std::process::exit(tidemill_worker::supervise()),
        _ => in_runtime(cli, logging),
    }
}

/// Returns the settings if the arguments name a server.
fn server_settings(cli: &Cli, args: &ServerArgs) -> Outcome<Option<Settings>> {
    if args.is_named() { Settings::resolve(cli).map(Some) } else { Ok(None) }
}

/// Writes a page or a script, which has no untrusted text, to standard output.
fn write_page(text: &[u8]) -> Outcome {
    Ok(std::io::stdout().write_all(text).map_err(|error| output::output_error(&error))?)
}

fn in_runtime(cli: &Cli, logging: Logging) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::system(format!("cannot start threads: {error}")))?;
    // Not a command on records: no setting of those matters to it.
    if let Command::Init(args) = &cli.command {
        return runtime.block_on(init::init(args));
    }
    let settings = &Settings::resolve(cli)?;
    let outcome = runtime.block_on(async {
        match &cli.command {
            Command::Run(args) => Box::pin(run::run(settings, args)).await,
            Command::Report(args) => report::report(settings, args).await,
            Command::Status(args) => status::status(settings, args).await,
            Command::Logs(args) => logs::logs(settings, args).await,
            Command::Watch(args) => watch::watch(settings, args).await,
            Command::Open(args) => open::open(settings, args).await,
            Command::Debug(args) => debug::debug(settings, args).await,
            Command::Cp(args) => debug::copy::copy(settings, args).await,
            Command::Forward(args) => debug::forward::forward(settings, args).await,
            Command::Cancel(args) => cancel::cancel(settings, args).await,
            Command::Registry(args) => registry::registry(settings, args).await,
            Command::Repo(args) => repo::repo(settings, args).await,
            Command::Secret(args) => secret::secret(settings, args).await,
            Command::Variable(args) => variable::variable(settings, args).await,
            Command::Approve(args) => Box::pin(approve::approve(settings, args)).await,
            Command::Retry(args) => Box::pin(retry::retry(settings, args)).await,
            Command::Environments(args) => Box::pin(environments::environments(settings, args)).await,
            Command::DeadLetters(args) => dead_letters::dead_letters(settings, args).await,
            Command::Artifacts(args) => artifacts::artifacts(settings, args).await,
            Command::Token(args) => token::token(settings, args).await,
            Command::Audit(args) => audit::audit(settings, args).await,
            Command::Export(args) => export::export(settings, args).await,
            Command::Insights(args) => insights::insights(settings, args).await,
            Command::Badge(args) => badge::badge(settings, args).await,
            Command::Workers(args) => commands::administration::workers::workers(settings, args).await,
            Command::Retention(args) => maintenance::retention::retention(settings, args).await,
            Command::Gc(args) => maintenance::gc::gc(settings, args).await,
            Command::Pin(args) => maintenance::pins::pin(settings, args).await,
            Command::Unpin(args) => maintenance::pins::unpin(settings, args).await,
            Command::Backup(args) => maintenance::backup::backup(settings, args).await,
            Command::Restore(args) => maintenance::backup::restore(settings, args).await,
            Command::Doctor(args) => maintenance::doctor::doctor(settings, args).await,
            Command::Server(args) => server::server(settings, args, logging).await,
            Command::Worker(args) => Box::pin(worker::worker(settings, args, logging)).await,
            Command::Login(args) => login::login(settings, args).await,
            Command::Logout(args) => login::logout(settings, args).await,
            Command::Roles(args) => roles::roles(settings, args).await,
            Command::Sessions(args) => sessions::sessions(settings, args).await,
            #[cfg(feature = "aws")]
            Command::Deploy(args) => commands::deployment::deploy::deploy(settings, args).await,
            #[cfg(feature = "aws")]
            Command::Destroy(args) => commands::deployment::destroy::destroy(args).await,
            #[cfg(not(feature = "aws"))]
            Command::Deploy(_) => Err(Failure::without_aws("tidemill deploy")),
            #[cfg(not(feature = "aws"))]
            Command::Destroy(_) => Err(Failure::without_aws("tidemill destroy")),
            Command::CleanUp(args) => workers::clean_up(settings, args).await,
            Command::Check(_)
            | Command::Plan(_)
            | Command::Init(_)
            | Command::Import(_)
            | Command::Completions { .. }
            | Command::Version { .. }
            | Command::Supervise
            | Command::Man(_) => Ok(()),
        }
    });
    // Do not wait for blocking threads that still read a file.
    runtime.shutdown_background();
    outcome.map_err(|failure| settings.explain(failure))
}

/// Initializes logging to standard error: errors only, of a server or a worker warnings too, unless `TIDEMILL_LOG` or an option sets a
/// filter (`info`, `tidemill_worker=debug`).
fn init_logging(cli: &Cli) -> Logging {
    let serving = match &cli.command {
        Command::Server(args) => Some(&args.observability),
        Command::Worker(args) => Some(&args.observability),
        _ => None,
    };
    let variable = std::env::var(env_vars::LOG).ok().filter(|text| !text.is_empty());
    let (filter, default) = match serving {
        Some(args) => (args.log_level.clone(), "warn"),
        None => (variable, "error"),
    };
    let style = match serving.map(|args| args.log_format) {
        Some(LogFormat::Json) => LogStyle::Json,
        Some(LogFormat::Text) | None => LogStyle::Text,
    };
    let exports = serving.is_some_and(|args| args.otlp_endpoint.is_some());
    Logging::start(filter.as_deref().unwrap_or(default), style, exports)
}
