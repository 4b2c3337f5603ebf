//! What a deployment keeps when its stack goes: the table, the bucket and the key of secrets, and how to be rid of them.

use super::account::{Account, is_absent, refused};
use crate::failure::Outcome;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

/// Empties and deletes a bucket. One that is not there is no error.
pub async fn delete_bucket(account: &Account, bucket: &str) -> Outcome {
    let doing = format!("emptying bucket {bucket}");
    loop {
        let listed =
            account.s3.list_objects_v2().bucket(bucket).expected_bucket_owner(&account.id).send().await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(refused(&doing, &error)),
        };
        let objects: Vec<ObjectIdentifier> = listed
            .contents()
            .iter()
            .filter_map(|object| ObjectIdentifier::builder().key(object.key()?).build().ok())
            .collect();
        if objects.is_empty() {
            break;
        }
        let all = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let all = all.map_err(|error| crate::failure::Failure::system(format!("{doing} failed: {error}")))?;
        let deleted = account.s3.delete_objects().bucket(bucket).delete(all).send().await;
        deleted.map_err(|error| refused(&doing, &error))?;
    }
    match account.s3.delete_bucket().bucket(bucket).send().await {
        Err(error) if !is_absent(&error) => Err(refused(&format!("deleting bucket {bucket}"), &error)),
        _ => Ok(()),
    }
}

/// Deletes a table. One that is not there is no error.
pub async fn delete_table(account: &Account, table: &str) -> Outcome {
    match account.dynamodb.delete_table().table_name(table).send().await {
        Err(error) if !is_absent(&error) => Err(refused(&format!("deleting table {table}"), &error)),
        _ => Ok(()),
    }
}

/// The parameter with the key of a deployment's secrets, which its functions make with the first of them.
pub fn key_parameter(name: &str) -> String {
    format!("/tidemill/{name}/secret-key")
}

/// Deletes the key of a deployment's secrets. One that is not there is no error.
pub async fn delete_key(account: &Account, parameter: &str) -> Outcome {
    match account.ssm.delete_parameter().name(parameter).send().await {
        Err(error) if !is_absent(&error) => Err(refused(&format!("deleting parameter {parameter}"), &error)),
        _ => Ok(()),
    }
}
