//! `artifacts`: lists what jobs left, or unpacks it.

use crate::{
    args::Artifacts,
    deployment::Deployment,
    failure::{Failure, Outcome},
    settings::Settings,
    view::words,
};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs,
    io::{BufReader, Seek, Write},
    path::Path,
};
use tidemill_core::api::{ArtifactList, ArtifactView, path};
use tidemill_worker::workspace::{HostWorkspace, Keep};

/// `tidemill artifacts`.
pub async fn artifacts(settings: &Settings, args: &Artifacts) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let id = deployment.find(&args.which).await?;
    let list: ArtifactList =
        deployment.get(&path::ARTIFACTS.replace("{executionId}", &id.to_string())).await?;
    let is_wanted = |artifact: &ArtifactView| {
        args.job.as_ref().is_none_or(|name| {
            artifact.job_name == *name || artifact.job_name.starts_with(&format!("{name} ["))
        })
    };
    let wanted: Vec<ArtifactView> = list.artifacts.into_iter().filter(is_wanted).collect();
    let mut out = anstream::stdout();
    if let Some(directory) = &args.output {
        if wanted.is_empty() {
            return Err(Failure::usage("no artifact is selected; `tidemill artifacts` lists what there is"));
        }
        fs::create_dir_all(directory)?;
        for artifact in &wanted {
            unpack(&deployment, artifact, directory).await?;
            writeln!(out, "{}: {} file(s)", artifact.job_name, artifact.files.len())?;
        }
    } else if args.json {
        serde_json::to_writer_pretty(&mut out, &wanted).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for artifact in &wanted {
            writeln!(out, "{}  {}  {}", artifact.job_name, artifact.file_path, words::size(artifact.size))?;
            for file in &artifact.files {
                writeln!(out, "  {}  {}", file.path, words::size(file.size))?;
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
            artifact.job_name, artifact.sha256
        )));
    }
    file.rewind()?;
    let unpacked = HostWorkspace::directory_at(directory)
        .and_then(|place| place.unpack(BufReader::new(file), Keep::Permissions));
    unpacked.map_err(|error| {
        Failure::system(format!(
            "the artifact of `{}` could not be unpacked in {}: {error}",
            artifact.job_name,
            directory.display()
        ))
    })
}
