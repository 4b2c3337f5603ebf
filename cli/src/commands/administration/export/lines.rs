//! Rows as JSON lines.

use super::sink::{PendingFile, Sink, TABLES};
use crate::{
    failure::{Failure, Outcome},
    output,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use tidemill_core::api::ExportPage;

/// Writes every row to standard output, with the name of its table.
pub(super) struct StandardOutput;

impl Sink for StandardOutput {
    fn add(&mut self, page: &ExportPage) -> Outcome {
        let mut out = BufWriter::new(output::stdout());
        write_named(&mut out, TABLES[0], &page.executions)?;
        write_named(&mut out, TABLES[1], &page.jobs)?;
        write_named(&mut out, TABLES[2], &page.artifacts)?;
        Ok(out.flush()?)
    }

    fn finish(self: Box<Self>) -> Outcome {
        Ok(())
    }
}

fn write_named(out: &mut impl Write, table: &str, rows: &[impl Serialize]) -> Outcome {
    for row in rows {
        let mut row = serde_json::to_value(row).map_err(|error| failed(&error))?;
        row["table"] = Value::from(table);
        writeln!(out, "{row}")?;
    }
    Ok(())
}

/// Writes the rows of each table to a file.
pub(super) struct Files {
    tables: [(PendingFile, BufWriter<File>); 3],
}

impl Files {
    pub(super) fn create(dir: &Path, force: bool) -> Outcome<Self> {
        let create = |table: &str| -> Outcome<_> {
            let file = PendingFile::new(dir, table, "jsonl", force)?;
            let out = BufWriter::new(file.open()?);
            Ok((file, out))
        };
        let [executions, jobs, artifacts] = TABLES;
        Ok(Self { tables: [create(executions)?, create(jobs)?, create(artifacts)?] })
    }
}

impl Sink for Files {
    fn add(&mut self, page: &ExportPage) -> Outcome {
        let [(_, executions), (_, jobs), (_, artifacts)] = &mut self.tables;
        write_rows(executions, &page.executions)?;
        write_rows(jobs, &page.jobs)?;
        write_rows(artifacts, &page.artifacts)
    }

    fn finish(self: Box<Self>) -> Outcome {
        for (file, mut out) in self.tables {
            out.flush()?;
            file.complete()?;
        }
        Ok(())
    }
}

fn write_rows(out: &mut impl Write, rows: &[impl Serialize]) -> Outcome {
    for row in rows {
        let row = serde_json::to_string(row).map_err(|error| failed(&error))?;
        writeln!(out, "{row}")?;
    }
    Ok(())
}

fn failed(error: &serde_json::Error) -> Failure {
    match error.io_error_kind() {
        Some(kind) => std::io::Error::from(kind).into(),
        None => Failure::system(format!("a row cannot be written: {error}")),
    }
}
