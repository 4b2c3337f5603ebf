//! The bucket that CloudFormation takes the template and the functions from: one for the account and region, which all
//! deployments there share. Objects are named by what is in them, so that none is sent twice and none is overwritten.

use super::account::{Account, is_absent, refused};
use crate::failure::{Failure, Outcome};
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
        CreateBucketConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
        PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
        ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
    },
};

/// The bucket's name.
pub fn name(account: &Account) -> String {
    format!("tidemill-code-{}-{}", account.id, account.region)
}

/// Whether the bucket is there. One of that name that another account has is refused: its owner could put other code
/// into it.
pub async fn exists(account: &Account) -> Outcome<bool> {
    let name = name(account);
    match account.s3.head_bucket().bucket(&name).expected_bucket_owner(&account.id).send().await {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) if error.raw_response().is_some_and(|reply| reply.status().as_u16() == 403) => {
            Err(Failure::system(format!(
                "bucket {name} may not be used: these credentials lack s3:ListBucket on it, or another account has it\n\
                 docs/deploy.md has the policy that is needed"
            )))
        }
        Err(error) => Err(refused(&format!("looking for bucket {name}"), &error)),
    }
}

/// Makes the bucket: private, encrypted, reached by TLS only.
pub async fn make(account: &Account) -> Outcome {
    let name = &name(account);
    let place = (account.region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(account.region.as_str()))
            .build()
    });
    let made = account.s3.create_bucket().bucket(name).set_create_bucket_configuration(place).send().await;
    made.map_err(|error| refused(&format!("making bucket {name}"), &error))?;
    let outcome = close(account, name).await;
    if outcome.is_err() {
        // Or the next deployment would take it for one that is closed. That it is empty is certain.
        let _ = account.s3.delete_bucket().bucket(name).send().await;
    }
    outcome
}

/// Makes a new bucket what this one must be.
async fn close(account: &Account, name: &str) -> Outcome {
    let doing = |what: &str| format!("{what} bucket {name}");
    let private = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .block_public_policy(true)
        .ignore_public_acls(true)
        .restrict_public_buckets(true);
    let closed = account.s3.put_public_access_block().bucket(name);
    let closed = closed.public_access_block_configuration(private.build()).send().await;
    closed.map_err(|error| refused(&doing("closing"), &error))?;

    let unfit = |error| Failure::system(format!("bucket {name} cannot be described: {error}"));
    let key = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(key.build().map_err(unfit)?)
        .build();
    let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(unfit)?;
    let encrypted = account.s3.put_bucket_encryption().bucket(name);
    let encrypted = encrypted.server_side_encryption_configuration(encryption).send().await;
    encrypted.map_err(|error| refused(&doing("encrypting"), &error))?;

    let policy = account.s3.put_bucket_policy().bucket(name).policy(tls_only(account, name)).send().await;
    policy.map_err(|error| refused(&doing("setting the policy of"), &error))?;

    let rule = LifecycleRule::builder()
        .id("abandoned-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build(),
        )
        .build()
        .map_err(unfit)?;
    let lifecycle = BucketLifecycleConfiguration::builder().rules(rule).build().map_err(unfit)?;
    let kept = account.s3.put_bucket_lifecycle_configuration().bucket(name);
    let kept = kept.lifecycle_configuration(lifecycle).send().await;
    kept.map_err(|error| refused(&doing("setting the lifecycle of"), &error))?;
    Ok(())
}

fn tls_only(account: &Account, name: &str) -> String {
    let arn = format!("arn:{}:s3:::{name}", account.partition);
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }],
    })
    .to_string()
}

/// Puts an object, unless one of this name is there already. Says whether it was put.
pub async fn put(account: &Account, bucket: &str, key: &str, body: Vec<u8>) -> Outcome<bool> {
    let head = account.s3.head_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    match head.send().await {
        Ok(_) => return Ok(false),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(refused(&format!("looking for {key} in bucket {bucket}"), &error)),
    }
    let put = account.s3.put_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    let put = put.body(ByteStream::from(body)).send().await;
    put.map_err(|error| refused(&format!("uploading {key} to bucket {bucket}"), &error))?;
    Ok(true)
}

/// The address by which CloudFormation takes an object.
pub fn url(account: &Account, bucket: &str, key: &str) -> String {
    if let Some(endpoint) = &account.endpoint {
        return format!("{endpoint}/{bucket}/{key}");
    }
    let suffix = if account.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{bucket}.s3.{}.{suffix}/{key}", account.region)
}
