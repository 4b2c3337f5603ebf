//! `backup` and `restore`: copies of a server's data directory.

use crate::{
    args::{BackupArgs, RestoreArgs},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use std::{
    io::Write,
    path::{Component, Path, PathBuf},
};
use tidemill_server::backup::{self, BackupOptions, BackupRepository};
use tidemill_services::Error;

/// Beginning of addresses of S3.
const S3: &str = "s3://";

/// `tidemill backup`.
pub async fn backup(settings: &Settings, args: &BackupArgs) -> Outcome {
    if args.list {
        return list(&open(&args.target, false).await?, args.format.is_json()).await;
    }
    if args.verify {
        let report = backup::verify(&open(&args.target, false).await?, None).await.map_err(failure)?;
        output::print_reply(args.format.is_json(), &report, || {
            format!(
                "backup {} is whole: {} file(s), {}",
                report.backup.id,
                report.files,
                format::size(report.bytes)
            )
        })?;
        return Ok(());
    }
    let data_dir = settings.data_dir()?;
    check_outside(data_dir, &args.target)?;
    let repository = open(&args.target, true).await?;
    let options = BackupOptions { without_key: args.without_key, keep: args.keep };
    let about = (format::now(), env!("CARGO_PKG_VERSION"));
    let report = backup::back_up(data_dir, &repository, &options, about).await.map_err(failure)?;
    output::print_reply(args.format.is_json(), &report, || {
        let removed = match report.removed.len() {
            0 => String::new(),
            number => format!("; {number} older backup(s) removed"),
        };
        format!(
            "backup {}: {} file(s), {}, of which {} new{removed}",
            report.backup.id,
            report.backup.files,
            format::size(report.backup.bytes),
            format::size(report.new_bytes)
        )
    })?;
    Ok(())
}

/// `tidemill restore`.
pub async fn restore(settings: &Settings, args: &RestoreArgs) -> Outcome {
    let data_dir = settings.data_dir()?;
    let repository = open(&args.source, false).await?;
    let report = backup::restore(&repository, args.backup.as_deref(), data_dir).await.map_err(failure)?;
    output::print_reply(args.format.is_json(), &report, || {
        format!(
            "restored backup {} into {}: {} file(s), {}; start the server with `tidemill server --data-dir {}`",
            report.backup.id,
            Printable(&data_dir.display().to_string()),
            report.files,
            format::size(report.bytes),
            Printable(&data_dir.display().to_string())
        )
    })?;
    Ok(())
}

async fn list(repository: &BackupRepository, is_json: bool) -> Outcome {
    let backups = repository.list().await?;
    if is_json {
        return Ok(output::print_json(&backups)?);
    }
    let mut out = output::stdout();
    for entry in &backups {
        let size = format::size(entry.bytes);
        writeln!(out, "{}  {}  {} file(s)  {size}", entry.id, entry.created_at, entry.files)?;
    }
    if backups.is_empty() {
        writeln!(out, "no backups")?;
    }
    Ok(())
}

/// Returns the failure of an error: a usage error for what the caller can change.
fn failure(error: Error) -> Failure {
    match error {
        Error::Invalid(_) | Error::NotFound(_) | Error::Conflict(_) => {
            Failure::usage(output::printable_lines(&error.to_string()))
        }
        other => other.into(),
    }
}

/// Returns an error for a directory in the data directory: each backup would contain those before it, and be lost with the data.
fn check_outside(data_dir: &Path, target: &str) -> Outcome {
    if target.starts_with(S3) {
        return Ok(());
    }
    // Links count, in the part of the path that exists, and `..` also after a directory that is still to be created.
    let mut resolved = PathBuf::new();
    for component in std::path::absolute(target)?.components() {
        if component == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(component);
        if let Ok(path) = resolved.canonicalize() {
            resolved = path;
        }
    }
    if data_dir.canonicalize().is_ok_and(|data| resolved.starts_with(data)) {
        return Err(Failure::usage(format!(
            "{} is in the data directory: choose a directory elsewhere, best on another disk",
            Printable(target)
        )));
    }
    Ok(())
}

/// Opens the repository at a path or an address of S3. With `create`, a directory may be missing.
async fn open(target: &str, create: bool) -> Outcome<BackupRepository> {
    if let Some(address) = target.strip_prefix(S3) {
        return open_s3(address).await;
    }
    let path = Path::new(target);
    if !create && !path.is_dir() {
        return Err(Failure::usage(format!("{} is not a directory with backups", Printable(target))));
    }
    Ok(BackupRepository::in_directory(path)?)
}

#[cfg(feature = "aws")]
async fn open_s3(address: &str) -> Outcome<BackupRepository> {
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    if bucket.is_empty() {
        return Err(Failure::usage("an address in S3 is s3://BUCKET or s3://BUCKET/PREFIX"));
    }
    let objects = tidemill_aws::S3Objects::of_bucket(&tidemill_aws::load_sdk_config().await, bucket);
    Ok(BackupRepository::in_objects(std::sync::Arc::new(objects), prefix))
}

#[cfg(not(feature = "aws"))]
#[allow(clippy::unused_async, reason = "the same signature as with AWS")]
async fn open_s3(_: &str) -> Outcome<BackupRepository> {
    Err(Failure::without_aws("a backup in S3"))
}
