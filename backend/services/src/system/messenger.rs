//! HTTP and HTTPS client for outgoing messages.

use crate::ports::{
    Messenger, ProviderClient, ProviderReply, ProviderRequest, RequestError, is_provider_address,
};
use async_trait::async_trait;
use reqwest::{
    Client, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore};
use std::{
    error::Error as _,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::notification::message::{Method, OutgoingReply, OutgoingRequest};
use url::{Url, form_urlencoded};

/// Maximum time from the start of a request to its reply.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the reply of a provider, in bytes.
const MAX_REPLY_LEN: usize = 1 << 20;
const AGENT: &str = concat!("tidemill/", env!("CARGO_PKG_VERSION"));

/// HTTP client that follows no redirects and uses no proxy. It trusts the certificate authorities of the system, or those in
/// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
#[derive(Default)]
pub struct HttpMessenger {
    client: OnceLock<Client>,
}

impl HttpMessenger {
    /// Returns the client. The first call creates it, since reading the certificate authorities is slow.
    fn client(&self) -> Result<&Client, RequestError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| RequestError::Client(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| RequestError::Client(with_causes(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl HttpMessenger {
    /// Whether `address` is one of HTTP without credentials, query and fragment.
    #[must_use]
    pub fn is_plain_address(address: &str) -> bool {
        let Ok(url) = Url::parse(address) else { return false };
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && !has_credentials
            && url.query().is_none()
            && url.fragment().is_none()
    }

    /// Whether these are name and value of a header.
    #[must_use]
    pub fn is_header(name: &str, value: &str) -> bool {
        HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
    }

    /// Posts a message of protobuf. Returns the HTTP status of the reply, or why there is none.
    pub async fn post_protobuf(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<u16, RequestError> {
        let mut request = self.client()?.post(url);
        for (name, value) in headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let request = request.header(CONTENT_TYPE, "application/x-protobuf").header(USER_AGENT, AGENT);
        let reply = request.body(body).send().await.map_err(failure)?;
        Ok(reply.status().as_u16())
    }
}

#[async_trait]
impl Messenger for HttpMessenger {
    async fn send(&self, sent: &OutgoingRequest) -> Result<OutgoingReply, RequestError> {
        let client = self.client()?;
        let request = match sent.method {
            Method::Get => client.get(sent.url.as_str()),
            Method::Patch => client.patch(sent.url.as_str()),
            Method::Post => client.post(sent.url.as_str()),
            Method::Put => client.put(sent.url.as_str()),
        };
        let mut request = request.header(USER_AGENT, AGENT);
        for (name, value) in &sent.headers {
            request = request.header(*name, value.as_str());
        }
        if sent.method != Method::Get {
            request = request.header(CONTENT_TYPE, "application/json").body(sent.body.clone());
        }
        let reply = request.send().await.map_err(failure)?;
        let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok());
        // GitHub and Gitea have the prefix, GitLab has not.
        let limit = |name: &str| {
            header(&format!("x-ratelimit-{name}")).or_else(|| header(&format!("ratelimit-{name}")))
        };
        let is_used_up = limit("remaining").is_some_and(|remaining| remaining.trim() == "0");
        let limit_reset = limit("reset").and_then(|reset| reset.trim().parse().ok()).filter(|_| is_used_up);
        let retry_after = header(RETRY_AFTER.as_str()).map(str::to_owned);
        let status = reply.status().as_u16();
        // What a receiver of notifications replies, nobody reads: a reply that is too long or cut off changes nothing.
        let body = read_body(reply).await.unwrap_or_default();
        Ok(OutgoingReply { status, retry_after, limit_reset, body })
    }
}

#[async_trait]
impl ProviderClient for HttpMessenger {
    async fn send(&self, request: &ProviderRequest) -> Result<ProviderReply, RequestError> {
        if !is_provider_address(&request.url) {
            return Err(RequestError::NoTls);
        }
        let client = self.client()?;
        let mut sent = match &request.form {
            None => client.get(request.url.as_str()),
            Some(fields) => {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                client
                    .post(request.url.as_str())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            }
        };
        sent = sent.header(ACCEPT, "application/json").header(USER_AGENT, AGENT);
        if let Some(authorization) = &request.authorization {
            sent = sent.header(AUTHORIZATION, authorization.as_str());
        }
        let reply = sent.send().await.map_err(failure)?;
        let status = reply.status().as_u16();
        Ok(ProviderReply { status, body: read_body(reply).await? })
    }
}

/// Reads the body of a reply, within the limit of its size.
async fn read_body(mut reply: Response) -> Result<Vec<u8>, RequestError> {
    let mut body = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_REPLY_LEN {
            return Err(RequestError::TooLarge(MAX_REPLY_LEN));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Describes why there is no reply.
fn failure(error: reqwest::Error) -> RequestError {
    if error.is_timeout() {
        return RequestError::Timeout(REQUEST_TIMEOUT);
    }
    // The address may hold a secret.
    RequestError::Connection(with_causes(&error.without_url()))
}

/// Formats an error with its causes.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
