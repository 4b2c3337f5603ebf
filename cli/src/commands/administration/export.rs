//! `export`: writes executions, jobs and artifacts as rows for other programs. It holds one page of rows, or with Parquet one group of
//! rows of each table.

mod lines;
#[cfg(feature = "aws")]
mod parquet;
mod sink;

use crate::{
    args::{Export, ExportFormat},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    settings::Settings,
};
use lines::{Files, StandardOutput};
use sink::Sink;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use tidemill_core::api::{ExportPage, path};

/// `tidemill export`.
pub async fn export(settings: &Settings, args: &Export) -> Outcome {
    let mut sink: Box<dyn Sink> = match (&args.output, args.file_format) {
        (None, ExportFormat::Jsonl) => Box::new(StandardOutput),
        (None, ExportFormat::Parquet) => {
            return Err(Failure::usage(
                "--file-format parquet needs --output DIR, as each table is a file".to_owned(),
            ));
        }
        (Some(dir), ExportFormat::Jsonl) => Box::new(Files::create(&created(dir)?, args.force)?),
        (Some(dir), ExportFormat::Parquet) => parquet_sink(dir, args.force)?,
    };
    let deployment = Deployment::connect(settings).await?;
    let (mut executions, mut jobs) = (0, 0);
    let mut cursor: Option<String> = None;
    loop {
        let page: ExportPage = deployment.get(&address(args, cursor.as_deref())).await?;
        sink.add(&page)?;
        executions += page.executions.len();
        jobs += page.jobs.len();
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    deployment.close().await;
    sink.finish()?;
    if let Some(dir) = &args.output {
        crate::output::errln!("{executions} executions and {jobs} jobs in {}", dir.display());
    }
    Ok(())
}

#[cfg(feature = "aws")]
fn parquet_sink(dir: &Path, force: bool) -> Outcome<Box<dyn Sink>> {
    Ok(Box::new(parquet::Tables::create(&created(dir)?, force)?))
}

#[cfg(not(feature = "aws"))]
fn parquet_sink(_: &Path, _: bool) -> Outcome<Box<dyn Sink>> {
    Err(Failure::usage(
        "this program was built without Parquet; use one with the commands for AWS (`make deploy-tools`), or --file-format jsonl"
            .to_owned(),
    ))
}

/// Creates the directory of the output.
fn created(dir: &Path) -> Outcome<PathBuf> {
    fs::create_dir_all(dir)
        .map_err(|error| Failure::usage(format!("{} cannot be created: {error}", dir.display())))?;
    Ok(dir.to_owned())
}

/// Returns the address of a page.
fn address(args: &Export, cursor: Option<&str>) -> String {
    let mut address = path::EXPORT.to_owned();
    let mut separator = '?';
    let times = [("since", args.since), ("until", args.until)];
    let times = times.map(|(name, time)| (name, time.map(|time| time.to_string())));
    let [since, until] = times;
    for (name, value) in [("repo", args.repo.clone()), since, until, ("cursor", cursor.map(str::to_owned))] {
        if let Some(value) = value {
            let _ = write!(address, "{separator}{name}={}", query_encoded(&value));
            separator = '&';
        }
    }
    address
}
