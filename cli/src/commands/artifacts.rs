//! `artifacts`: lists what jobs left, or unpacks it.

use crate::{
    args::Artifacts,
    deployment::Deployment,
    failure::{Failure, Outcome},
    output::{self, Printable},
    select::{Purpose, select},
    settings::Settings,
    view::words,
};
use futures_util::TryStreamExt;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs,
    io::{BufReader, Seek, Write},
    path::Path,
};
use tidemill_core::api::{ArtifactList, ArtifactView, ExecutionSummary, path};
use tidemill_worker::workspace::{HostWorkspace, Keep};

/// What `--json` prints.
#[derive(Serialize)]
struct Listed<'a> {
    execution: &'a ExecutionSummary,
    artifacts: &'a [ArtifactView],
}

/// `tidemill artifacts`.
pub async fn artifacts(settings: &Settings, args: &Artifacts) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, &args.which, Purpose::Read).await?;
    let id = selected.id();
    let list: ArtifactList =
        deployment.get(&path::ARTIFACTS.replace("{executionId}", &id.to_string())).await?;
    let is_wanted = |artifact: &ArtifactView| {
        args.job.as_ref().is_none_or(|name| {
            artifact.job_name == *name || artifact.job_name.starts_with(&format!("{name} ["))
        })
    };
    let wanted: Vec<ArtifactView> = list.artifacts.into_iter().filter(is_wanted).collect();
    let mut out = output::stdout();
    if let Some(directory) = &args.output {
        if wanted.is_empty() {
            return Err(Failure::usage("no artifact is selected; `tidemill artifacts` lists what there is"));
        }
        fs::create_dir_all(directory)?;
        writeln!(out, "{}", selected.title())?;
        for artifact in &wanted {
            unpack(&deployment, artifact, directory).await?;
            writeln!(out, "{}: {} file(s)", Printable(&artifact.job_name), artifact.files.len())?;
        }
    } else if args.json {
        output::print_json(&Listed { execution: &selected.view.execution, artifacts: &wanted })?;
    } else {
        writeln!(out, "{}", selected.title())?;
        for artifact in &wanted {
            let (job, name) = (Printable(&artifact.job_name), Printable(&artifact.file_path));
            writeln!(out, "{job}  {name}  {}", words::size(artifact.size))?;
            for file in &artifact.files {
                writeln!(out, "  {}  {}", Printable(&file.path), words::size(file.size))?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// Fetches an artifact, checks its hash, and unpacks it; nothing is written outside of `directory`.
async fn unpack(deployment: &Deployment, artifact: &ArtifactView, directory: &Path) -> Outcome {
    let url = path::ARTIFACT_DOWNLOAD.replace("{artifactId}", &artifact.id.to_string());
    let mut bytes = Box::pin(deployment.api.get(&url).await?);
    let mut file = tempfile::tempfile()?;
    let mut hash = Sha256::new();
    while let Some(chunk) = bytes.try_next().await? {
        hash.update(&chunk);
        file.write_all(&chunk)?;
    }
    let hash = hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if hash != artifact.sha256 {
        return Err(Failure::system(format!(
            "the artifact of `{}` arrived damaged (hash {hash}, not {}); try again",
            Printable(&artifact.job_name),
            Printable(&artifact.sha256)
        )));
    }
    file.rewind()?;
    let unpacked = HostWorkspace::directory_at(directory)
        .and_then(|place| place.unpack(BufReader::new(file), Keep::Permissions));
    unpacked.map_err(|error| {
        Failure::system(format!(
            "the artifact of `{}` could not be unpacked in {}: {error}",
            Printable(&artifact.job_name),
            directory.display()
        ))
    })
}
