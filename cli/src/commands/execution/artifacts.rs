//! `artifacts`: lists artifacts and their files, or extracts them.

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
    borrow::Cow,
    collections::BTreeMap,
    fs,
    io::{self, BufReader, ErrorKind, Seek, Write},
    path::{Path, PathBuf},
};
use tidemill_core::{
    api::{ArtifactList, ArtifactView, ExecutionSummary, path},
    execution::report::jobs_named,
    ids::JobId,
};
use tidemill_worker::{
    artifact::decoded,
    workspace::{HostWorkspace, PermissionPolicy},
};

/// Maximum length of the name of a job's directory in bytes, before what keeps it apart from others: file systems have 255.
const MAX_DIRECTORY_NAME_LEN: usize = 200;

/// The output of `--format json`.
#[derive(Serialize)]
struct Listing<'a> {
    execution: &'a ExecutionSummary,
    artifacts: &'a [ArtifactView],
}

/// The output of `--format json` with `--output`.
#[derive(Serialize)]
struct Extraction<'a> {
    execution: &'a ExecutionSummary,
    artifacts: &'a [ArtifactView],
    /// The directory of each artifact.
    directories: &'a [Cow<'a, str>],
}

/// `tidemill artifacts`.
pub async fn artifacts(settings: &Settings, args: &Artifacts) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Read, ConsentArgs::default()).await?;
    let id = selected.id();
    let list: ArtifactList =
        deployment.get(&path::ARTIFACTS.replace("{executionId}", &id.to_string())).await?;
    let named = selected.job.as_ref().map(|name| jobs_named(&selected.view.jobs, name));
    let is_selected = |artifact: &ArtifactView| {
        named.as_ref().is_none_or(|jobs| jobs.iter().any(|job| job.job_name == artifact.job_name))
    };
    let artifacts: Vec<ArtifactView> = list.artifacts.into_iter().filter(is_selected).collect();
    let mut out = output::stdout();
    if let Some(directory) = &args.output {
        if artifacts.is_empty() {
            return Err(Failure::usage("no matching artifact; `tidemill artifacts` lists all"));
        }
        let is_json = args.format.is_json();
        if !is_json {
            writeln!(out, "{}", selected.title())?;
        }
        let targets = targets(directory, &artifacts);
        if !args.force {
            // Before anything is extracted; the list of a large artifact has not all files.
            check_is_new(&targets, &artifacts)?;
        }
        for (target, artifact) in targets.iter().zip(&artifacts) {
            fs::create_dir_all(target).map_err(|error| no_directory(target, &error))?;
            extract(&deployment, artifact, target, args.force).await?;
            let (job, files) = (Printable(&artifact.job_name), artifact.files.len());
            if !is_json {
                writeln!(out, "{job}: {files} file(s) in {}", Printable(&target.to_string_lossy()))?;
            }
        }
        if is_json {
            let directories: Vec<_> = targets.iter().map(|target| target.to_string_lossy()).collect();
            output::print_json(&Extraction {
                execution: &selected.view.execution,
                artifacts: &artifacts,
                directories: &directories,
            })?;
        }
    } else if args.format.is_json() {
        output::print_json(&Listing { execution: &selected.view.execution, artifacts: &artifacts })?;
    } else {
        writeln!(out, "{}", selected.title())?;
        if artifacts.is_empty() {
            crate::output::errln!("no artifacts");
        }
        for artifact in &artifacts {
            let name = artifact.name.as_deref().unwrap_or(&artifact.file_path);
            let (job, name) = (Printable(&artifact.job_name), Printable(name));
            writeln!(out, "{job}  {name}  {}", format::size(artifact.size))?;
            if let Some(title) = &artifact.expose_as {
                writeln!(out, "  exposed as: {}", Printable(title))?;
            }
            for file in &artifact.files {
                writeln!(out, "  {}  {}", Printable(&file.path), format::size(file.size))?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

/// Returns the directory for the files of each artifact: one for each job if there are several, as their files may have the
/// same names.
fn targets(directory: &Path, artifacts: &[ArtifactView]) -> Vec<PathBuf> {
    let by_job = artifacts.iter().any(|artifact| artifact.job_execution_id != artifacts[0].job_execution_id);
    if !by_job {
        return vec![directory.to_owned(); artifacts.len()];
    }
    let mut jobs: BTreeMap<String, JobId> = BTreeMap::new();
    let mut target = |artifact: &ArtifactView| {
        let id = artifact.job_execution_id;
        let mut name = directory_name(&artifact.job_name);
        // Different names may need the same replacement.
        while *jobs.entry(name.to_lowercase()).or_insert(id) != id {
            name.push('_');
        }
        directory.join(name)
    };
    artifacts.iter().map(&mut target).collect()
}

/// Fails if the extraction would overwrite a listed file.
fn check_is_new(targets: &[PathBuf], artifacts: &[ArtifactView]) -> Outcome {
    for (target, artifact) in targets.iter().zip(artifacts) {
        let mut paths = artifact.files.iter().map(|file| target.join(&file.path));
        if let Some(path) = paths.find(|path| path.symlink_metadata().is_ok()) {
            return Err(exists(&path, &artifact.job_name));
        }
    }
    Ok(())
}

/// The failure to create the directory of `--output`.
fn no_directory(path: &Path, error: &io::Error) -> Failure {
    let name = path.to_string_lossy();
    let name = Printable(&name);
    match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Failure::usage(format!(
            "{name} is not a directory, or in one that is none; use another directory with -o"
        )),
        _ => Failure::system(format!("the directory {name} cannot be created: {error}")),
    }
}

/// The failure of an extraction that would overwrite the file at `path`.
fn exists(path: &Path, job: &str) -> Failure {
    Failure::usage(format!(
        "{} exists already, and nothing of the artifact of `{}` was extracted; use another directory with -o, or overwrite files \
         with --force",
        Printable(path.to_string_lossy()),
        Printable(job)
    ))
}

/// Returns the name of a directory for the files of a job.
fn directory_name(job: &str) -> String {
    let name: String =
        job.chars().map(|c| if matches!(c, '/' | '\\') || c.is_control() { '-' } else { c }).collect();
    let mut name = if name.starts_with('.') { format!("_{name}") } else { name };
    if name.len() > MAX_DIRECTORY_NAME_LEN {
        let end = (0..=MAX_DIRECTORY_NAME_LEN).rev().find(|end| name.is_char_boundary(*end));
        name.truncate(end.unwrap_or(0));
        // Names that begin with the same text stay apart.
        name.push('-');
        name.extend(HEXLOWER.encode(&Sha256::digest(job)).chars().take(16));
    }
    name
}

/// Downloads an artifact, verifies its hash, and extracts it. Writes nothing outside of `directory`, and replaces a file only
/// with `overwrite`.
async fn extract(
    deployment: &Deployment,
    artifact: &ArtifactView,
    directory: &Path,
    overwrite: bool,
) -> Outcome {
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
    let failed = |error: io::Error| {
        let name = directory.to_string_lossy();
        let subject = format!(
            "the artifact of `{}` cannot be extracted in {}",
            Printable(&artifact.job_name),
            Printable(name)
        );
        // The system's name for a path that leads out of the directory.
        if error.kind() == ErrorKind::CrossesDevices {
            return Failure::usage(format!(
                "{subject}: a symbolic link in it leads out of it; use another directory with -o"
            ));
        }
        Failure::system(format!("{subject}: {error}"))
    };
    let target = HostWorkspace::directory_at(directory).map_err(failed)?;
    let tar = || {
        let mut file = &file;
        file.rewind()?;
        decoded(BufReader::new(file), artifact.encoding, artifact.unpacked_size)
    };
    if !overwrite && let Some(existing) = tar().and_then(|tar| target.first_existing(tar)).map_err(failed)? {
        return Err(exists(&directory.join(existing), &artifact.job_name));
    }
    tar().and_then(|tar| target.unpack(tar, PermissionPolicy::Permissions)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::directory_name;

    #[test]
    fn directories_of_jobs_have_names_that_file_systems_take() {
        for (job, directory) in [("test", "test"), ("a/b\\c\n", "a-b-c-"), ("..", "_.."), (".git", "_.git")] {
            assert_eq!(directory_name(job), directory);
        }
        assert_eq!(directory_name(&"x".repeat(200)), "x".repeat(200));
        let long = |end: &str| directory_name(&format!("x{}{end}", "ä".repeat(250)));
        let (one, two) = (long("1"), long("2"));
        assert!(one.len() <= 255 && one.starts_with(&format!("x{}-", "ä".repeat(99))), "{one}");
        assert_ne!(one, two);
        assert_eq!(one, long("1"));
    }
}
