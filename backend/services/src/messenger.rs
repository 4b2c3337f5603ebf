//! Sends requests over HTTP and HTTPS.

use crate::ports::Messenger;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    header::{CONTENT_TYPE, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use std::{
    error::Error as _,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tidemill_core::announcement::OutgoingRequest;

/// The longest that a reply may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

type Sender = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Sends over the network; trusts the system's certificate authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
#[derive(Default)]
pub struct HttpMessenger {
    client: OnceLock<Sender>,
}

impl HttpMessenger {
    /// The client, made when something is to be sent: to read the authorities takes a while.
    fn client(&self) -> Result<&Sender, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(self.client.get_or_init(|| client))
    }
}

#[async_trait]
impl Messenger for HttpMessenger {
    async fn post(&self, post: &OutgoingRequest) -> Result<u16, String> {
        let mut request = Request::post(post.url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tidemill/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &post.headers {
            request = request.header(*name, value.as_str());
        }
        let body = Full::new(Bytes::from(post.body.clone()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let sent = tokio::time::timeout(REQUEST_TIMEOUT, self.client()?.request(request)).await;
        let sent = sent.map_err(|_| format!("there was no answer within {} s", REQUEST_TIMEOUT.as_secs()))?;
        let reply = sent.map_err(|error| match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })?;
        Ok(reply.status().as_u16())
    }
}
