//! Signed calls of services of which one or two operations are needed: their SDKs would be a crate each.

use super::account::Account;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::Request;
use std::time::{Duration, SystemTime};
use tidemill_worker::client::send_elsewhere;

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

impl Call<'_> {
    /// Sends the call and returns the reply's body. The error says why there is none, for a note.
    pub async fn send(self, account: &Account) -> Result<String, String> {
        tokio::time::timeout(TIMEOUT, self.exchange(account))
            .await
            .map_err(|_| format!("no reply within {} s", TIMEOUT.as_secs()))?
    }

    async fn exchange(self, account: &Account) -> Result<String, String> {
        let provider = account.sdk.credentials_provider().ok_or("there are no credentials")?;
        let credentials = provider.provide_credentials().await.map_err(|error| error.to_string())?;
        let identity = credentials.into();
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
            .map_err(|error| error.to_string())?
            .into();
        let signable = SignableRequest::new(
            self.method,
            &url,
            self.headers.iter().copied(),
            SignableBody::Bytes(self.body.as_bytes()),
        )
        .map_err(|error| error.to_string())?;
        let (signature, _) = sign(signable, &params).map_err(|error| error.to_string())?.into_parts();
        let mut request = Request::builder().method(self.method).uri(&url);
        for (name, value) in self.headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let request = request.body(self.body).map_err(|error| error.to_string())?;
        match send_elsewhere(request, MAX_REPLY_BYTES).await? {
            (200, body) => Ok(String::from_utf8_lossy(&body).into_owned()),
            (status, _) => Err(format!("status {status}")),
        }
    }
}
