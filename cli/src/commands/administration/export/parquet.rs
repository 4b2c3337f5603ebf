//! Rows as Apache Parquet, one file for each table, compressed with zstd.

use super::sink::{PendingFile, Sink, TABLES};
use crate::failure::{Failure, Outcome};
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use std::{fs::File, path::Path, sync::Arc};
use tidemill_core::{api::ExportPage, time::Timestamp};

/// Number of rows that are written together, which is what one table keeps in memory.
const ROWS_PER_GROUP: usize = 10_000;

/// The types of the columns. [`Tables::add`] passes values in the same order.
const SCHEMAS: [&str; 3] = [
    "message executions {
        required binary id (STRING); required binary pipeline_name (STRING); required binary repo (STRING);
        optional binary branch (STRING); optional binary commit (STRING); required binary status (STRING);
        required int64 created_at (TIMESTAMP(MILLIS,true)); optional int64 start_time (TIMESTAMP(MILLIS,true));
        optional int64 end_time (TIMESTAMP(MILLIS,true)); required int64 run_number;
    }",
    "message jobs {
        required binary id (STRING); required binary pipeline_execution_id (STRING); required binary stage (STRING);
        required binary job_name (STRING); required binary docker_image (STRING); required binary status (STRING);
        optional binary logs (STRING); optional int64 start_time (TIMESTAMP(MILLIS,true));
        optional int64 end_time (TIMESTAMP(MILLIS,true)); required int64 attempt;
    }",
    "message artifacts {
        required binary id (STRING); required binary job_execution_id (STRING); required binary file_path (STRING);
        required int64 uploaded_at (TIMESTAMP(MILLIS,true)); required int64 size; required binary sha256 (STRING);
    }",
];

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self::system(format!("a Parquet file cannot be written: {error}"))
    }
}

/// A value of a row.
enum Value {
    Text(String),
    OptionalText(Option<String>),
    Number(i64),
    OptionalNumber(Option<i64>),
}

fn text(value: &(impl ToString + ?Sized)) -> Value {
    Value::Text(value.to_string())
}

fn optional_text(value: Option<&String>) -> Value {
    Value::OptionalText(value.cloned())
}

const fn time(value: Timestamp) -> Value {
    Value::Number(value.0)
}

fn optional_time(value: Option<Timestamp>) -> Value {
    Value::OptionalNumber(value.map(|time| time.0))
}

fn number(value: impl TryInto<i64>) -> Value {
    Value::Number(value.try_into().unwrap_or(i64::MAX))
}

/// The values of a column that are not written yet.
#[derive(Default)]
struct Column {
    texts: Vec<ByteArray>,
    numbers: Vec<i64>,
    /// For each row, 1 if it has a value; only for optional columns.
    present: Vec<i16>,
    is_optional: bool,
    is_text: bool,
}

impl Column {
    fn add(&mut self, value: Value) {
        let (text, number, is_optional, is_text) = match value {
            Value::Text(text) => (Some(text), None, false, true),
            Value::OptionalText(text) => (text, None, true, true),
            Value::Number(number) => (None, Some(number), false, false),
            Value::OptionalNumber(number) => (None, number, true, false),
        };
        (self.is_optional, self.is_text) = (is_optional, is_text);
        self.present.push(i16::from(text.is_some() || number.is_some()));
        self.texts.extend(text.map(|text| ByteArray::from(text.into_bytes())));
        self.numbers.extend(number);
    }

    /// For each row whether it has a value, if the column is optional.
    fn levels(&self) -> Option<&[i16]> {
        self.is_optional.then_some(self.present.as_slice())
    }
}

/// A file with the rows of a table.
struct Table {
    file: PendingFile,
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    rows: usize,
}

impl Table {
    fn create((dir, force): (&Path, bool), name: &str, schema: &str) -> Outcome<Self> {
        let file = PendingFile::new(dir, name, "parquet", force)?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let schema = parse_message_type(schema)?;
        let columns = schema.get_fields().iter().map(|_| Column::default()).collect();
        let writer = SerializedFileWriter::new(file.open()?, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, writer, columns, rows: 0 })
    }

    fn add<const N: usize>(&mut self, row: [Value; N]) -> Outcome {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.add(value);
        }
        self.rows += 1;
        if self.rows >= ROWS_PER_GROUP { self.flush() } else { Ok(()) }
    }

    /// Writes the rows of a group.
    fn flush(&mut self) -> Outcome {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let column = std::mem::take(column);
            let Some(mut writer) = group.next_column()? else { break };
            if column.is_text {
                writer.typed::<ByteArrayType>().write_batch(&column.texts, column.levels(), None)?;
            } else {
                writer.typed::<Int64Type>().write_batch(&column.numbers, column.levels(), None)?;
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        self.flush()?;
        self.writer.close()?;
        self.file.complete()
    }
}

/// The files of all tables.
pub(super) struct Tables {
    executions: Table,
    jobs: Table,
    artifacts: Table,
}

impl Tables {
    pub(super) fn create(dir: &Path, force: bool) -> Outcome<Self> {
        let [executions, jobs, artifacts] = TABLES;
        let [of_executions, of_jobs, of_artifacts] = SCHEMAS;
        Ok(Self {
            executions: Table::create((dir, force), executions, of_executions)?,
            jobs: Table::create((dir, force), jobs, of_jobs)?,
            artifacts: Table::create((dir, force), artifacts, of_artifacts)?,
        })
    }
}

impl Sink for Tables {
    fn add(&mut self, page: &ExportPage) -> Outcome {
        for row in &page.executions {
            self.executions.add([
                text(&row.id),
                text(&row.pipeline_name),
                text(&row.repo),
                optional_text(row.branch.as_ref()),
                optional_text(row.commit.as_ref()),
                text(row.status.as_str()),
                time(row.created_at),
                optional_time(row.start_time),
                optional_time(row.end_time),
                number(row.run_number),
            ])?;
        }
        for row in &page.jobs {
            self.jobs.add([
                text(&row.id),
                text(&row.pipeline_execution_id),
                text(&row.stage),
                text(&row.job_name),
                text(&row.docker_image),
                text(row.status.as_str()),
                optional_text(row.logs.as_ref()),
                optional_time(row.start_time),
                optional_time(row.end_time),
                number(row.attempt),
            ])?;
        }
        for row in &page.artifacts {
            self.artifacts.add([
                text(&row.id),
                text(&row.job_execution_id),
                text(&row.file_path),
                time(row.uploaded_at),
                number(row.size),
                text(&row.sha256),
            ])?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Outcome {
        self.executions.finish()?;
        self.jobs.finish()?;
        self.artifacts.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ROWS_PER_GROUP, Sink, Tables};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use std::fs::File;
    use tidemill_core::api::{ExportPage, ExportedExecution};
    use tidemill_core::execution::status::ExecutionStatus;
    use tidemill_core::{ids::ExecutionId, time::Timestamp};
    use uuid::Uuid;

    #[test]
    fn rows_are_read_back_in_groups_with_absent_values() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = Box::new(Tables::create(dir.path(), false).unwrap());
        let row = |number: u64| ExportedExecution {
            id: ExecutionId(Uuid::from_u128(u128::from(number))),
            pipeline_name: "build".into(),
            repo: "git.example.org/r".into(),
            branch: number.is_multiple_of(2).then(|| format!("topic-{number}")),
            commit: None,
            status: ExecutionStatus::Running,
            created_at: Timestamp(1_000),
            start_time: Some(Timestamp(2_000)),
            end_time: None,
            run_number: number,
        };
        let number = ROWS_PER_GROUP as u64 + 3;
        for from in (0..number).step_by(1_000) {
            let executions = (from..number.min(from + 1_000)).map(row).collect();
            sink.add(&ExportPage { executions, ..ExportPage::default() }).unwrap();
        }
        assert!(!dir.path().join("executions.parquet").exists(), "it is not complete");
        sink.finish().unwrap();
        assert!(Tables::create(dir.path(), false).is_err(), "the files are there");
        let reader =
            SerializedFileReader::new(File::open(dir.path().join("executions.parquet")).unwrap()).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), ROWS_PER_GROUP + 3);
        assert_eq!(rows[2].get_string(3).unwrap(), "topic-2");
        assert!(rows[3].get_string(3).is_err(), "it has no branch");
        assert_eq!(rows[3].get_string(5).unwrap(), "RUNNING");
        assert_eq!(rows[ROWS_PER_GROUP + 2].get_long(9).unwrap(), i64::try_from(number - 1).unwrap());
        assert_eq!(rows[0].get_timestamp_millis(7).unwrap(), 2_000);
        for table in ["jobs", "artifacts"] {
            let file = File::open(dir.path().join(format!("{table}.parquet"))).unwrap();
            assert_eq!(SerializedFileReader::new(file).unwrap().get_row_iter(None).unwrap().count(), 0);
        }
    }
}
