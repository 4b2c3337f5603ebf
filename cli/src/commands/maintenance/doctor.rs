//! `doctor`: checks the data directory, the container engine and the machine of a server.

use crate::{
    args::Doctor,
    failure::{Exit, Failure, Outcome},
    output::{self, Printable},
    settings::{Settings, data_dir},
    view::format,
};
use serde_json::json;
use std::{io::Write, path::Path};
use tidemill_core::api::{Health, HealthStatus, path};
use tidemill_server::doctor::{Finding, Verdict, all_checks, tokens};
use tidemill_worker::{client::ApiClient, engine::local_images};

/// `tidemill doctor`.
pub async fn doctor(settings: &Settings, args: &Doctor) -> Outcome {
    let directory = settings.data_dir()?.to_owned();
    let quick = args.quick;
    let checking = tokio::task::spawn_blocking({
        let directory = directory.clone();
        move || all_checks(&directory, quick)
    });
    let mut findings = checking.await.map_err(|error| Failure::system(error.to_string()))?;
    findings.push(engine(settings).await);
    findings.push(server(settings, &directory).await);
    findings.extend(tokens(&directory, format::now()).await);
    if args.format.is_json() {
        let items: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "check": finding.check, "verdict": name(finding.verdict), "text": finding.text }))
            .collect();
        output::print_json(&json!({ "data_dir": directory, "findings": items }))?;
    } else {
        let mut out = output::stdout();
        for finding in &findings {
            let (verdict, check) = (name(finding.verdict), finding.check);
            writeln!(out, "{verdict:<8} {check:<16} {}", Printable(&finding.text))?;
        }
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Failed) {
        return Err(Failure::silent(Exit::System));
    }
    Ok(())
}

const fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    }
}

async fn engine(settings: &Settings) -> Finding {
    match local_images(settings.docker_host.as_deref()).await {
        Ok(images) => {
            Finding::new("engine", Verdict::Ok, format!("the engine answers, with {} image(s)", images.len()))
        }
        // A server without workers of its own needs none.
        Err(error) => Finding::new("engine", Verdict::Warning, error.to_string()),
    }
}

/// Checks the server that uses the data directory, if one runs: its health and its address, to which git providers send webhooks. Sends
/// no token: a server that was killed has left its address, at which another program may listen now.
async fn server(settings: &Settings, directory: &Path) -> Finding {
    let Some(url) = data_dir::recorded_address(directory) else {
        return Finding::new("server", Verdict::Ok, "no server runs on this data directory");
    };
    // Health needs no token, so that it does not matter who reads the request.
    let public = ApiClient::new(&url, "").with_certificate_authorities(settings.ca_cert.clone());
    match get::<Health>(&public.with_insecure_http(true), path::HEALTH).await {
        Ok(health) => {
            let verdict = match health.status {
                HealthStatus::Ok => Verdict::Ok,
                HealthStatus::Degraded => Verdict::Warning,
                HealthStatus::Failing => Verdict::Failed,
            };
            let problems: Vec<String> = health
                .problems
                .iter()
                .map(|problem| json!(problem).as_str().unwrap_or_default().to_owned())
                .collect();
            let problems =
                if problems.is_empty() { String::new() } else { format!(": {}", problems.join(", ")) };
            Finding::new(
                "server",
                verdict,
                format!("{url} answers{problems}; webhooks reach it where this address does"),
            )
        }
        Err(error) => {
            let text = format!("{url} does not answer: {error}; git providers and workers need this address");
            Finding::new("server", Verdict::Warning, text)
        }
    }
}

async fn get<T: serde::de::DeserializeOwned>(api: &ApiClient, path: &str) -> Result<T, String> {
    let fetched = api.fetch(path, None).await.map_err(|error| error.to_string())?;
    let body = fetched.map(|fetched| fetched.body).unwrap_or_default();
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}
