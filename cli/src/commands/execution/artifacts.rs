//! `artifacts`: lists or extracts artifacts.

use crate::{
    args::{Artifacts, ConsentArgs},
    deployment::Deployment,
    execution::select::{Purpose, select_job},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{BufReader, Seek, Write},
    path::Path,
};
use tidemill_core::api::{ArtifactList, ArtifactView, ExecutionSummary, path};
use tidemill_worker::workspace::{HostWorkspace, PermissionPolicy};

/// The output of `--format json`.
#[derive(Serialize)]
struct Listing<'a> {
    execution: &'a ExecutionSummary,
    artifacts: &'a [ArtifactView],
}

/// `tidemill artifacts`.
pub async fn artifacts(settings: &Settings, args: &Artifacts) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Read, ConsentArgs::default()).await?;
    let id = selected.id();
    let list: ArtifactList =
        deployment.get(&path::ARTIFACTS.replace("{executionId}", &id.to_string())).await?;
    let is_selected = |artifact: &ArtifactView| {
        selected.job.as_ref().is_none_or(|name| {
            artifact.job_name == *name || artifact.job_name.starts_with(&format!("{name} ["))
        })
    };
    let artifacts: Vec<ArtifactView> = list.artifacts.into_iter().filter(is_selected).collect();
    let mut out = output::stdout();
    if let Some(directory) = &args.output {
        if artifacts.is_empty() {
            return Err(Failure::usage("no matching artifact; `tidemill artifacts` lists all"));
        }
        if !args.force {
            check_is_new(directory, &artifacts)?;
        }
        fs::create_dir_all(directory)?;
        writeln!(out, "{}", selected.title())?;
        for artifact in &artifacts {
            extract(&deployment, artifact, directory).await?;
            writeln!(out, "{}: {} file(s)", Printable(&artifact.job_name), artifact.files.len())?;
        }
    } else if args.format.is_json() {
        output::print_json(&Listing { execution: &selected.view.execution, artifacts: &artifacts })?;
    } else {
        writeln!(out, "{}", selected.title())?;
        for artifact in &artifacts {
            let (job, name) = (Printable(&artifact.job_name), Printable(&artifact.file_path));
            writeln!(out, "{job}  {name}  {}", format::size(artifact.size))?;
            for file in &artifact.files {
                writeln!(out, "  {}  {}", Printable(&file.path), format::size(file.size))?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// Fails if the extraction would overwrite a file.
fn check_is_new(directory: &Path, artifacts: &[ArtifactView]) -> Outcome {
    let files = artifacts.iter().flat_map(|artifact| &artifact.files);
    let existing = files.map(|file| directory.join(&file.path)).find(|path| path.symlink_metadata().is_ok());
    let Some(path) = existing else { return Ok(()) };
    Err(Failure::usage(format!(
        "{} already exists; use another directory with -o, or overwrite files with --force",
        Printable(path.display().to_string())
    )))
}

/// Downloads an artifact, verifies its hash, and extracts it. Writes nothing outside of `directory`.
async fn extract(deployment: &Deployment, artifact: &ArtifactView, directory: &Path) -> Outcome {
    let url = path::ARTIFACT_DOWNLOAD.replace("{artifactId}", &artifact.id.to_string());
    let mut bytes = Box::pin(deployment.api.get(&url).await?);
    let mut file = tempfile::tempfile()?;
    let mut hash = Sha256::new();
    while let Some(chunk) = bytes.try_next().await? {
        hash.update(&chunk);
        file.write_all(&chunk)?;
    }
    let hash = HEXLOWER.encode(&hash.finalize());
    if hash != artifact.sha256 {
        return Err(Failure::system(format!(
            "the artifact of `{}` is corrupt (SHA-256 is {hash}, expected {}); try again",
            Printable(&artifact.job_name),
            Printable(&artifact.sha256)
        )));
    }
    file.rewind()?;
    let extracted = HostWorkspace::directory_at(directory)
        .and_then(|target| target.unpack(BufReader::new(file), PermissionPolicy::Permissions));
    extracted.map_err(|error| {
        Failure::system(format!(
            "the artifact of `{}` cannot be extracted in {}: {error}",
            Printable(&artifact.job_name),
            directory.display()
        ))
    })
}
