//! Signed calls of services of which one or two operations are needed: their SDKs would be a crate each.

use super::account::Account;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::Request;
use std::time::{Duration, SystemTime};
use tidemill_worker::client::{HttpError, send_elsewhere};

/// Maximum time of a call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a reply in bytes.
const MAX_REPLY_BYTES: u64 = 256 << 10;

/// A call of a service.
pub struct Call<'a> {
    /// The service, as it is in host names and signatures.
    pub service: &'a str,
    /// Host and region, if they are not those of the account's region.
    pub elsewhere: Option<(String, &'a str)>,
    /// HTTP method.
    pub method: &'a str,
    /// Path.
    pub path: &'a str,
    /// Headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: String,
}

/// Why a call has no usable reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no reply in time.
    #[error("no reply within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// There is nobody to sign as.
    #[error("there are no credentials")]
    NoCredentials,
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The call cannot be signed.
    #[error("it cannot be signed: {0}")]
    Signing(String),
    /// There was no reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The reply is an error.
    #[error("status {0}")]
    Status(u16),
    /// The credentials are of nobody whose policies can be simulated.
    #[error("they are not those of a user or role")]
    NoPrincipal,
    /// The reply is not JSON.
    #[error("the reply is not JSON")]
    NotJson,
    /// The reply lacks what was asked for.
    #[error("the reply has no {0}")]
    Incomplete(&'static str),
}

impl Call<'_> {
    /// Sends the call and returns the reply's body.
    pub async fn send(self, account: &Account) -> Result<String, CallError> {
        tokio::time::timeout(TIMEOUT, self.exchange(account)).await.map_err(|_| CallError::Timeout)?
    }

    async fn exchange(self, account: &Account) -> Result<String, CallError> {
        let provider = account.sdk.credentials_provider().ok_or(CallError::NoCredentials)?;
        let credentials = provider.provide_credentials().await?;
        let identity = credentials.into();
        let signing = |error: &dyn std::error::Error| CallError::Signing(error.to_string());
        let suffix = if account.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let own = || (format!("{}.{}.{suffix}", self.service, account.region), account.region.as_str());
        let (host, region) = self.elsewhere.clone().unwrap_or_else(own);
        let origin = match &account.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{host}"),
        };
        let url = format!("{origin}{}", self.path);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| signing(&error))?
            .into();
        let signable = SignableRequest::new(
            self.method,
            &url,
            self.headers.iter().copied(),
            SignableBody::Bytes(self.body.as_bytes()),
        )
        .map_err(|error| signing(&error))?;
        let (signature, _) = sign(signable, &params).map_err(|error| signing(&error))?.into_parts();
        let mut request = Request::builder().method(self.method).uri(&url);
        for (name, value) in self.headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let request = request.body(self.body).map_err(|_| HttpError::Address)?;
        match send_elsewhere(request, MAX_REPLY_BYTES).await? {
            (200, body) => Ok(String::from_utf8_lossy(&body).into_owned()),
            (status, _) => Err(CallError::Status(status)),
        }
    }
}
