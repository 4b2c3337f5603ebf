//! `version`: what this program is.

use crate::{args::FormatArgs, failure::Outcome, output};
use serde::Serialize;
use std::fmt;

/// What this program is.
#[derive(Debug, Serialize)]
struct ProgramInfo {
    version: &'static str,
    /// The version of the records' schema. A program rejects records with a newer one.
    schema: usize,
    os: &'static str,
    arch: &'static str,
    /// Whether the commands for AWS are built in.
    aws: bool,
}

impl fmt::Display for ProgramInfo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, schema, os, arch, aws } = self;
        let aws = if *aws { "with" } else { "without" };
        write!(formatter, "tidemill {version}\nschema {schema}\n{os} {arch}, {aws} AWS")
    }
}

/// `tidemill version`.
pub fn version(format: FormatArgs) -> Outcome {
    let info = ProgramInfo {
        version: env!("CARGO_PKG_VERSION"),
        schema: tidemill_server::SCHEMA_VERSION,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        aws: cfg!(feature = "aws"),
    };
    Ok(output::print_reply(format.is_json(), &info, || info.to_string())?)
}
