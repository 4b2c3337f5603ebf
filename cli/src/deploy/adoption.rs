//! Finds the table and the bucket that an earlier deployment has left, so that a new one can use them.

use super::{
    account::{Account, aws_failure},
    parameters::ParameterValues,
};
use crate::failure::{Failure, Outcome};

/// A table and a bucket that remained when a stack was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// Name of the table.
    pub table: String,
    /// Label of its stream.
    pub stream: String,
    /// Name of the bucket.
    pub bucket: String,
}

impl Remains {
    /// Finds what the deployment `name` has left. If it has left several tables or buckets, it is the one that is not empty.
    pub async fn find(account: &Account, name: &str) -> Outcome<Self> {
        let mut tables = Vec::new();
        for table in tables_of(account, name).await? {
            let is_empty = is_empty_table(account, &table).await?;
            tables.push((table, is_empty));
        }
        let mut buckets = Vec::new();
        for bucket in buckets_of(account, name).await? {
            let is_empty = is_empty_bucket(account, &bucket).await?;
            buckets.push((bucket, is_empty));
        }
        let table = only("table", name, tables)?;
        let bucket = only("bucket", name, buckets)?;
        let stream = stream_of(account, &table).await?;
        Ok(Self { table, stream, bucket })
    }

    /// Lets the template use them. What the user has set stays.
    pub fn add_to(&self, values: &mut ParameterValues) {
        for (name, value) in [
            ("RestoredTable", &self.table),
            ("RestoredTableStream", &self.stream),
            ("AdoptedBucket", &self.bucket),
        ] {
            values.entry(name.to_owned()).or_insert_with(|| value.clone());
        }
    }
}

/// Whether CloudFormation has given this name to the resource `logical_id` of a stack. Names of buckets are in lower case.
fn is_named_after(physical_id: &str, stack: &str, logical_id: &str) -> bool {
    let prefix = format!("{stack}-{logical_id}-").to_lowercase();
    physical_id.to_lowercase().strip_prefix(&prefix).is_some_and(|rest| !rest.contains('-'))
}

/// Selects the only one that is not empty, or the only one.
fn only(what: &str, stack: &str, mut found: Vec<(String, bool)>) -> Outcome<String> {
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        found.retain(|(_, is_empty)| !is_empty);
        if found.len() != 1 {
            return Err(Failure::usage(format!(
                "--adopt: several {what}s could be those of {stack}: {}; name the ones to use with --parameter RestoredTable=, \
                 RestoredTableStream= and AdoptedBucket=",
                names.join(", ")
            )));
        }
    }
    found.pop().map(|(name, _)| name).ok_or_else(|| {
        Failure::usage(format!(
            "--adopt: there is no {what} of an earlier deployment {stack}; deploy without --adopt to create one"
        ))
    })
}

async fn tables_of(account: &Account, name: &str) -> Outcome<Vec<String>> {
    let mut tables = Vec::new();
    let mut start = None;
    loop {
        let listed = account.dynamodb.list_tables().set_exclusive_start_table_name(start).send().await;
        let listed = listed.map_err(|error| aws_failure("listing tables", &error))?;
        tables.extend(
            listed.table_names().iter().filter(|table| is_named_after(table, name, "Table")).cloned(),
        );
        start = listed.last_evaluated_table_name().map(str::to_owned);
        if start.is_none() {
            return Ok(tables);
        }
    }
}

async fn is_empty_table(account: &Account, table: &str) -> Outcome<bool> {
    let found = account.dynamodb.scan().table_name(table).limit(1).send().await;
    let found = found.map_err(|error| aws_failure(&format!("looking into table {table}"), &error))?;
    Ok(found.items().is_empty())
}

async fn stream_of(account: &Account, table: &str) -> Outcome<String> {
    let described = account.dynamodb.describe_table().table_name(table).send().await;
    let described = described.map_err(|error| aws_failure(&format!("describing table {table}"), &error))?;
    let stream = described.table().and_then(|table| table.latest_stream_label()).map(str::to_owned);
    stream.ok_or_else(|| {
        Failure::usage(format!(
            "--adopt: table {table} has no stream; enable it: aws dynamodb update-table --table-name {table} \
             --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE"
        ))
    })
}

async fn buckets_of(account: &Account, name: &str) -> Outcome<Vec<String>> {
    let listed = account.s3.list_buckets().send().await;
    let listed = listed.map_err(|error| aws_failure("listing buckets", &error))?;
    let names = listed.buckets().iter().filter_map(|bucket| bucket.name());
    Ok(names.filter(|bucket| is_named_after(bucket, name, "Bucket")).map(str::to_owned).collect())
}

async fn is_empty_bucket(account: &Account, bucket: &str) -> Outcome<bool> {
    let listed = account.s3.list_objects_v2().bucket(bucket).max_keys(1).send().await;
    let listed = listed.map_err(|error| aws_failure(&format!("looking into bucket {bucket}"), &error))?;
    Ok(listed.contents().is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_named_after, only};

    #[test]
    fn resources_of_a_stack_are_known_by_their_names() {
        assert!(is_named_after("ci-Table-1ABCDEF", "ci", "Table"));
        assert!(is_named_after("ci-bucket-0x9y8z", "ci", "Bucket"));
        for other in ["ci-Table", "ci-other-Table-1A", "ci-Table-other-1A", "xci-Table-1A", "ci-Bucket-1A"] {
            assert!(!is_named_after(other, "ci", "Table"), "{other}");
        }
    }

    #[test]
    fn the_only_one_that_is_not_empty_is_used() {
        let found = |names: &[(&str, bool)]| {
            let names = names.iter().map(|(name, is_empty)| ((*name).to_owned(), *is_empty)).collect();
            only("table", "ci", names).map_err(|failure| failure.message)
        };
        assert_eq!(found(&[("a", true)]).unwrap(), "a");
        assert_eq!(found(&[("a", true), ("b", false), ("c", true)]).unwrap(), "b");
        assert!(found(&[("a", false), ("b", false)]).unwrap_err().contains("a, b"));
        assert!(found(&[("a", true), ("b", true)]).is_err());
        assert!(found(&[]).unwrap_err().contains("no table"));
    }
}
