//! The bucket from which CloudFormation reads the template and the functions. All deployments in an account and region share it.
//! Keys are derived from the content, so that no object is uploaded twice or overwritten.

use super::account::{Account, aws_failure, is_not_found};
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

/// Returns the bucket's name.
pub fn name(account: &Account) -> String {
    format!("tidemill-code-{}-{}", account.id, account.region)
}

/// Returns whether the bucket exists. Fails if another account owns it, because that account could replace the code.
pub async fn exists(account: &Account) -> Outcome<bool> {
    let name = name(account);
    match account.s3.head_bucket().bucket(&name).expected_bucket_owner(&account.id).send().await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) if error.raw_response().is_some_and(|reply| reply.status().as_u16() == 403) => {
            Err(Failure::system(format!(
                "no access to bucket {name}: the credentials lack s3:ListBucket on it, or another account owns it\n\
                 docs/deploy.md has the required policy"
            )))
        }
        Err(error) => Err(aws_failure(&format!("looking for bucket {name}"), &error)),
    }
}

/// Creates the bucket: private, encrypted, TLS only.
pub async fn create(account: &Account) -> Outcome {
    let name = &name(account);
    let location = (account.region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(account.region.as_str()))
            .build()
    });
    let created =
        account.s3.create_bucket().bucket(name).set_create_bucket_configuration(location).send().await;
    created.map_err(|error| aws_failure(&format!("creating bucket {name}"), &error))?;
    let outcome = secure(account, name).await;
    if outcome.is_err() {
        // Otherwise the next deployment would use the unsecured bucket. It is empty.
        let _ = account.s3.delete_bucket().bucket(name).send().await;
    }
    outcome
}

/// Configures a new bucket: no public access, encryption, TLS only, and removal of abandoned uploads.
async fn secure(account: &Account, name: &str) -> Outcome {
    let action = |verb: &str| format!("{verb} bucket {name}");
    let private = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .block_public_policy(true)
        .ignore_public_acls(true)
        .restrict_public_buckets(true);
    let secured = account.s3.put_public_access_block().bucket(name);
    let secured = secured.public_access_block_configuration(private.build()).send().await;
    secured.map_err(|error| aws_failure(&action("securing"), &error))?;

    let invalid = |error| Failure::system(format!("invalid configuration of bucket {name}: {error}"));
    let key = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256);
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(key.build().map_err(invalid)?)
        .build();
    let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(invalid)?;
    let encrypted = account.s3.put_bucket_encryption().bucket(name);
    let encrypted = encrypted.server_side_encryption_configuration(encryption).send().await;
    encrypted.map_err(|error| aws_failure(&action("encrypting"), &error))?;

    let policy = account.s3.put_bucket_policy().bucket(name).policy(tls_only(account, name)).send().await;
    policy.map_err(|error| aws_failure(&action("setting the policy of"), &error))?;

    let rule = LifecycleRule::builder()
        .id("abandoned-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build(),
        )
        .build()
        .map_err(invalid)?;
    let lifecycle = BucketLifecycleConfiguration::builder().rules(rule).build().map_err(invalid)?;
    let configured = account.s3.put_bucket_lifecycle_configuration().bucket(name);
    let configured = configured.lifecycle_configuration(lifecycle).send().await;
    configured.map_err(|error| aws_failure(&action("setting the lifecycle of"), &error))?;
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

/// Uploads an object unless it exists. Returns whether it was uploaded.
pub async fn put(account: &Account, bucket: &str, key: &str, body: Vec<u8>) -> Outcome<bool> {
    let head = account.s3.head_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    match head.send().await {
        Ok(_) => return Ok(false),
        Err(error) if is_not_found(&error) => {}
        Err(error) => return Err(aws_failure(&format!("looking for {key} in bucket {bucket}"), &error)),
    }
    let put = account.s3.put_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    let put = put.body(ByteStream::from(body)).send().await;
    put.map_err(|error| aws_failure(&format!("uploading {key} to bucket {bucket}"), &error))?;
    Ok(true)
}

/// Removes an object.
pub async fn remove(account: &Account, bucket: &str, key: &str) -> Outcome {
    let removed = account.s3.delete_object().bucket(bucket).key(key).expected_bucket_owner(&account.id);
    let removed = removed.send().await;
    removed.map(drop).map_err(|error| aws_failure(&format!("removing {key} from bucket {bucket}"), &error))
}

/// Returns the URL of an object for CloudFormation.
pub fn url(account: &Account, bucket: &str, key: &str) -> String {
    if let Some(endpoint) = &account.endpoint {
        return format!("{endpoint}/{bucket}/{key}");
    }
    let suffix = if account.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{bucket}.s3.{}.{suffix}/{key}", account.region)
}
