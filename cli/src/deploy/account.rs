//! The AWS account and region, with clients of the services.

use super::addresses::is_aws_address;
use crate::{
    args::StackArgs,
    failure::{Exit, Failure, Outcome},
};
use aws_config::SdkConfig;
use aws_sdk_cloudformation as cloudformation;
use aws_sdk_dynamodb as dynamodb;
use aws_sdk_s3::{
    self as s3,
    config::{Region, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use std::{error::Error, fmt::Debug, time::Duration};

/// Timeout of one upload or download.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// An account in a region.
#[derive(Debug, Clone)]
pub struct Account {
    /// Account id, 12 digits.
    pub id: String,
    /// Region.
    pub region: String,
    /// Partition: `aws`, `aws-cn` and the like.
    pub partition: String,
    /// URL of the AWS emulator, if one is used.
    pub endpoint: Option<String>,
    /// CloudFormation client.
    pub cloudformation: cloudformation::Client,
    /// S3 client.
    pub s3: s3::Client,
    /// DynamoDB client.
    pub dynamodb: dynamodb::Client,
    /// Parameter Store client.
    pub ssm: aws_sdk_ssm::Client,
    /// Whom the credentials are for.
    pub arn: String,
    /// Credentials and region, for calls of services without a client.
    pub sdk: SdkConfig,
}

impl Account {
    /// Connects to the account of the environment's credentials.
    pub async fn connect(args: &StackArgs) -> Outcome<Self> {
        let mut sdk = tidemill_aws::load_sdk_config().await;
        if args.region.is_some() || args.endpoint.is_some() {
            let mut builder = sdk.into_builder();
            if let Some(region) = &args.region {
                builder = builder.region(Region::new(region.clone()));
            }
            if let Some(endpoint) = &args.endpoint {
                builder = builder.endpoint_url(endpoint.trim_end_matches('/'));
            }
            sdk = builder.build();
        }
        let region = sdk.region().map(ToString::to_string).ok_or_else(|| {
            Failure::usage("no AWS region: use --region, or set AWS_REGION or a region in ~/.aws/config")
        })?;
        // An endpoint of AWS itself, as in a private network, is no emulator.
        let endpoint = sdk.endpoint_url().filter(|url| !is_aws_address(url)).map(str::to_owned);
        let identity = aws_sdk_sts::Client::new(&sdk).get_caller_identity().send().await;
        let identity = identity.map_err(|error| aws_failure("looking up the AWS account", &error))?;
        let transfers = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(TRANSFER_TIMEOUT);
        let s3 = s3::config::Builder::from(&sdk)
            .timeout_config(transfers.build())
            // An emulator has no host names for buckets.
            .force_path_style(endpoint.is_some());
        let partition = identity.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        Ok(Self {
            id: identity.account().unwrap_or_default().to_owned(),
            partition: partition.to_owned(),
            cloudformation: cloudformation::Client::new(&sdk),
            s3: s3::Client::from_conf(s3.build()),
            dynamodb: dynamodb::Client::new(&sdk),
            ssm: aws_sdk_ssm::Client::new(&sdk),
            arn: identity.arn().unwrap_or_default().to_owned(),
            sdk: sdk.clone(),
            region,
            endpoint,
        })
    }

    /// Returns the interval for polling AWS.
    pub const fn poll_interval(&self) -> Duration {
        if self.endpoint.is_some() { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    /// Returns account and region as text, for messages.
    pub fn describe(&self) -> String {
        let location = self.endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("account {}, region {}{location}", self.id, self.region)
    }
}

/// Converts the error of an AWS call to a failure with the action, AWS's message and a hint.
pub fn aws_failure<E>(action: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Debug + 'static,
{
    let Some(reply) = error.as_service_error() else {
        let message = DisplayErrorContext(error).to_string();
        let hint = if message.contains("redentials") {
            "log in to AWS (aws sso login or aws configure), or select a profile with AWS_PROFILE"
        } else {
            "check the network, and try again"
        };
        return Failure::system(format!("{action} failed: {message}\n{hint}"));
    };
    let code = reply.code().unwrap_or_default();
    let message = format!("{action} failed: {code}: {}", reply.message().unwrap_or("no reason given"));
    let hint = match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AllAccessDisabled" => {
            "\nthe credentials lack a permission; docs/deploy.md has the required policy"
        }
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "InvalidClientTokenId" => {
            "\nlog in to AWS again: aws sso login or aws configure"
        }
        _ => "",
    };
    let exit = if code == "ValidationError" { Exit::Usage } else { Exit::System };
    Failure { message: message + hint, ..Failure::silent(exit) }
}

/// Returns whether a call failed because its target does not exist.
pub fn is_not_found<E>(error: &SdkError<E>) -> bool
where
    E: ProvideErrorMetadata + Error + Debug + 'static,
{
    const NOT_FOUND_CODES: [&str; 7] = [
        "404",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchTagSet",
        "NotFound",
        "ParameterNotFound",
        "ResourceNotFoundException",
    ];
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    // The reply to a HEAD request has no body and therefore no error code.
    code.is_some_and(|code| NOT_FOUND_CODES.contains(&code))
        || error.raw_response().is_some_and(|reply| reply.status().as_u16() == 404)
}
