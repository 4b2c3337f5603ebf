//! `registry`: manages the logins of repositories at registries of images.

use crate::{
    args::{Registry, RegistryAction},
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
};
use std::io::{IsTerminal, Read, Write};
use tidemill_core::api::{
    RegistryList, RegistryView, RemoveRegistryReply, RemoveRegistryRequest, SetRegistryRequest, path,
};
use tidemill_core::repository::canonical_name;

/// Maximum bytes of a password that are read; the server accepts fewer.
const MAX_PASSWORD_LEN: u64 = 64 << 10;

/// `tidemill registry`.
pub async fn registry(settings: &Settings, args: &Registry) -> Outcome {
    match &args.action {
        RegistryAction::Add { registry, repo, username, password_stdin, format } => {
            let repo = repository::address(repo.as_deref())?;
            let (registry, username) = (registry.clone(), username.clone());
            let password = read_password(&username, &registry, *password_stdin)?;
            let request = SetRegistryRequest { repo, registry, username, password };
            let deployment = Deployment::connect(settings).await?;
            let login: RegistryView = deployment.post(path::REGISTRIES, &request).await?;
            deployment.close().await;
            output::print_reply(format.is_json(), &login, || {
                format!(
                    "login of `{}` at {} stored for {}",
                    Printable(&login.username),
                    Printable(&login.registry),
                    Printable(canonical_name(&login.repo))
                )
            })?;
        }
        RegistryAction::List { repo, format } => {
            let repo = repository::address(repo.as_deref())?;
            let deployment = Deployment::connect(settings).await?;
            let path = format!("{}?repo={}", path::REGISTRIES, query_encoded(&repo));
            let list: RegistryList = deployment.get(&path).await?;
            deployment.close().await;
            if format.is_json() {
                output::print_json(&list)?;
                return Ok(());
            }
            let mut out = output::stdout();
            for login in &list.registries {
                let by = match login.updated_by.as_str() {
                    "" => String::new(),
                    by => format!(" by {}", Printable(by)),
                };
                let (registry, username) = (Printable(&login.registry), Printable(&login.username));
                writeln!(out, "{registry}  {username}  set {}{by}", login.updated_at)?;
            }
        }
        RegistryAction::Remove { registry, repo, format } => {
            let repo = repository::address(repo.as_deref())?;
            let request = RemoveRegistryRequest { repo, registry: registry.clone() };
            let deployment = Deployment::connect(settings).await?;
            let reply: RemoveRegistryReply = deployment.post(path::REMOVE_REGISTRY, &request).await?;
            deployment.close().await;
            if !reply.removed {
                return Err(Failure::usage(format!("no login at `{registry}` for {}", request.repo)));
            }
            output::print_reply(format.is_json(), &reply, || {
                format!("login at {} removed", Printable(registry))
            })?;
        }
    }
    Ok(())
}

/// Reads the password from standard input, or prompts for it without echo.
fn read_password(username: &str, registry: &str, from_stdin: bool) -> Outcome<String> {
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() && !from_stdin {
        rpassword::prompt_password(format!(
            "password of {} at {}: ",
            Printable(username),
            Printable(registry)
        ))?
    } else {
        let mut text = String::new();
        stdin.lock().take(MAX_PASSWORD_LEN).read_to_string(&mut text)?;
        // `echo` and editors append a line end.
        text.strip_suffix('\n')
            .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line))
            .to_owned()
    };
    if password.is_empty() {
        return Err(Failure::usage("no password: pass it on standard input with --password-stdin"));
    }
    Ok(password)
}
