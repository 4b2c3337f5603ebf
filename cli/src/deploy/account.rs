//! The AWS account and region that are worked on, and clients of the services.

use crate::{
    args::Place,
    failure::{Exit, Failure, Outcome},
};
use aws_sdk_cloudformation as cloudformation;
use aws_sdk_dynamodb as dynamodb;
use aws_sdk_s3::{
    self as s3,
    config::{Region, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use std::{error::Error, fmt::Debug, time::Duration};

/// How long one upload or download may take.
const TRANSFER: Duration = Duration::from_secs(15 * 60);

/// An account in a region.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its 12 digits.
    pub id: String,
    /// The region.
    pub region: String,
    /// `aws`, but for China and the like.
    pub partition: String,
    /// The emulator, if it is one.
    pub endpoint: Option<String>,
    /// CloudFormation there.
    pub cloudformation: cloudformation::Client,
    /// S3 there.
    pub s3: s3::Client,
    /// DynamoDB there.
    pub dynamodb: dynamodb::Client,
    /// The Parameter Store there.
    pub ssm: aws_sdk_ssm::Client,
}

impl Account {
    /// The account of the credentials that the environment gives.
    pub async fn connect(place: &Place) -> Outcome<Self> {
        let mut sdk = tidemill_aws::load_sdk_config().await;
        if place.region.is_some() || place.endpoint.is_some() {
            let mut changed = sdk.into_builder();
            if let Some(region) = &place.region {
                changed = changed.region(Region::new(region.clone()));
            }
            if let Some(endpoint) = &place.endpoint {
                changed = changed.endpoint_url(endpoint.trim_end_matches('/'));
            }
            sdk = changed.build();
        }
        let region = sdk.region().map(ToString::to_string).ok_or_else(|| {
            Failure::usage(
                "no AWS region is known: give --region, or set AWS_REGION, or one in ~/.aws/config",
            )
        })?;
        let endpoint = sdk.endpoint_url().map(str::to_owned);
        let identity = aws_sdk_sts::Client::new(&sdk).get_caller_identity().send().await;
        let identity = identity.map_err(|error| refused("asking AWS whose credentials these are", &error))?;
        let transfers = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(TRANSFER);
        let s3 = s3::config::Builder::from(&sdk)
            .timeout_config(transfers.build())
            // An emulator has no host for each bucket.
            .force_path_style(endpoint.is_some());
        let partition = identity.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        Ok(Self {
            id: identity.account().unwrap_or_default().to_owned(),
            partition: partition.to_owned(),
            cloudformation: cloudformation::Client::new(&sdk),
            s3: s3::Client::from_conf(s3.build()),
            dynamodb: dynamodb::Client::new(&sdk),
            ssm: aws_sdk_ssm::Client::new(&sdk),
            region,
            endpoint,
        })
    }

    /// How often to look whether something is over.
    pub const fn pause(&self) -> Duration {
        if self.endpoint.is_some() { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    /// The account and region in words.
    pub fn words(&self) -> String {
        let where_ = self.endpoint.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
        format!("account {}, region {}{where_}", self.id, self.region)
    }
}

/// The failure of a call: what was being done, AWS's own words, and what to do.
pub fn refused<E>(doing: &str, error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + Error + Debug + 'static,
{
    let Some(answer) = error.as_service_error() else {
        let words = DisplayErrorContext(error).to_string();
        let hint = if words.contains("redentials") {
            "log in to AWS (aws sso login, or aws configure), or name a profile with AWS_PROFILE"
        } else {
            "check the network, and try again"
        };
        return Failure::system(format!("{doing} failed: {words}\n{hint}"));
    };
    let code = answer.code().unwrap_or_default();
    let words = format!("{doing} failed: {code}: {}", answer.message().unwrap_or("AWS gave no reason"));
    let hint = match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AllAccessDisabled" => {
            "\nthese credentials lack a permission; docs/deploy.md has the policy that is needed"
        }
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "InvalidClientTokenId" => {
            "\nlog in to AWS again: aws sso login, or aws configure"
        }
        _ => "",
    };
    let exit = if code == "ValidationError" { Exit::Usage } else { Exit::System };
    Failure { exit, words: words + hint }
}

/// Whether a call failed because what it named is not there.
pub fn is_absent<E>(error: &SdkError<E>) -> bool
where
    E: ProvideErrorMetadata + Error + Debug + 'static,
{
    const CODES: [&str; 7] = [
        "404",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchTagSet",
        "NotFound",
        "ParameterNotFound",
        "ResourceNotFoundException",
    ];
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    // The reply to a HEAD has no body, and so no code.
    code.is_some_and(|code| CODES.contains(&code))
        || error.raw_response().is_some_and(|reply| reply.status().as_u16() == 404)
}
