//! Deletes the data that remains after a stack is deleted: the table, the bucket and the encryption key of secrets.

use super::account::{Account, aws_failure, is_not_found};
use crate::failure::Outcome;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

/// Empties and deletes a bucket, if it exists.
pub async fn delete_bucket(account: &Account, bucket: &str) -> Outcome {
    let action = format!("emptying bucket {bucket}");
    loop {
        let listed =
            account.s3.list_objects_v2().bucket(bucket).expected_bucket_owner(&account.id).send().await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(aws_failure(&action, &error)),
        };
        let objects: Vec<ObjectIdentifier> = listed
            .contents()
            .iter()
            .filter_map(|object| ObjectIdentifier::builder().key(object.key()?).build().ok())
            .collect();
        if objects.is_empty() {
            break;
        }
        let batch = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let batch =
            batch.map_err(|error| crate::failure::Failure::system(format!("{action} failed: {error}")))?;
        let deleted = account.s3.delete_objects().bucket(bucket).delete(batch).send().await;
        deleted.map_err(|error| aws_failure(&action, &error))?;
    }
    match account.s3.delete_bucket().bucket(bucket).send().await {
        Err(error) if !is_not_found(&error) => Err(aws_failure(&format!("deleting bucket {bucket}"), &error)),
        _ => Ok(()),
    }
}

/// Deletes a table, if it exists.
pub async fn delete_table(account: &Account, table: &str) -> Outcome {
    match account.dynamodb.delete_table().table_name(table).send().await {
        Err(error) if !is_not_found(&error) => Err(aws_failure(&format!("deleting table {table}"), &error)),
        _ => Ok(()),
    }
}

/// Returns the name of the parameter with the encryption key of a deployment's secrets. The functions create it with the first
/// secret.
pub fn key_parameter(name: &str) -> String {
    format!("/tidemill/{name}/secret-key")
}

/// Deletes the encryption key of a deployment's secrets, if it exists.
pub async fn delete_key(account: &Account, parameter: &str) -> Outcome {
    match account.ssm.delete_parameter().name(parameter).send().await {
        Err(error) if !is_not_found(&error) => {
            Err(aws_failure(&format!("deleting parameter {parameter}"), &error))
        }
        _ => Ok(()),
    }
}
