//! Arguments of `export`.

use super::shared::ConnectionArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tidemill_core::time::Timestamp;

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Directory for the files executions, jobs and artifacts [default: JSON lines on standard output]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Format of the files
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "jsonl")]
    pub file_format: ExportFormat,
    /// Only executions of this repository [default: all; needs rights in all]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Only executions created at this time or later [example: 2026-01-31 or 2026-01-31T12:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Only executions created before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Formats of `export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet; needs --output
    Parquet,
}

/// Parses a time, or the start of a day in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let full = if text.len() == "2026-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    serde_json::from_value(serde_json::Value::String(full))
        .map_err(|_| "not a time such as 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())
}
