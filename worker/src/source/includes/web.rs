//! Downloads one file of the web.

use crate::client::{HttpClient, HttpError, TlsFailure, read_body};
use crate::source::{bounds::OperationBounds, network::HttpAccess};
use http::{Method, Request, header};
use reqwest::{Body, Response, Url};
use std::{thread, time::Duration};
use tidemill_core::pipeline::{IncludeError, MAX_FILE_BYTES};

/// Maximum number of redirects.
const MAX_REDIRECTS: usize = 5;

/// Returns the content at the address of `access`, which must begin with `https://`.
pub fn download(access: &HttpAccess, timeout: Duration) -> Result<Vec<u8>, IncludeError> {
    let bounds = OperationBounds::current();
    let silence = bounds.limits.silence.min(timeout);
    let work = async {
        tokio::select! {
            content = get(access) => content,
            () = tokio::time::sleep(silence) => Err(IncludeError::TimedOut),
            () = bounds.cancel.cancelled() => Err(IncludeError::Canceled),
        }
    };
    // The caller may be in a runtime, in which nothing must block.
    let run = || -> Result<Vec<u8>, IncludeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| IncludeError::Unavailable(error.to_string()))?.block_on(work)
    };
    thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(IncludeError::Unavailable("the download failed".to_owned())))
}

async fn get(access: &HttpAccess) -> Result<Vec<u8>, IncludeError> {
    let client = HttpClient::new(None).with_proxy(access.proxy());
    let mut url = access.url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let address = Url::parse(&url).ok().filter(|url| url.scheme() == "https");
        let address = address.ok_or_else(|| {
            IncludeError::Unavailable("the server redirects to an address without https".to_owned())
        })?;
        let reply = send(&client, &url).await.map_err(|error| match access.refusal() {
            Some(refusal) => IncludeError::Unavailable(refusal.to_string()),
            None => include_error(error),
        })?;
        let status = reply.status();
        if status.is_redirection() {
            let target = reply.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| address.join(target).ok());
            let invalid =
                || IncludeError::Unavailable("the server redirects to an invalid address".to_owned());
            url = target.ok_or_else(invalid)?.into();
            continue;
        }
        if !status.is_success() {
            return Err(IncludeError::Unavailable(format!("the server replied {status}")));
        }
        let body = read_body(reply, MAX_FILE_BYTES as u64).await.map_err(include_error)?;
        return Ok(body.to_vec());
    }
    Err(IncludeError::Unavailable("the server redirects too often".to_owned()))
}

async fn send(client: &HttpClient, url: &str) -> Result<Response, HttpError> {
    let request = Request::builder().method(Method::GET).uri(url);
    let request = request.body(Body::default()).map_err(|_| HttpError::Address)?;
    client.send(request).await
}

fn include_error(error: HttpError) -> IncludeError {
    match error {
        HttpError::TooLarge(_) => IncludeError::TooLarge,
        HttpError::Tls(TlsFailure::UnknownIssuer) => IncludeError::Unavailable(
            "its certificate is not issued by an authority that this machine trusts".to_owned(),
        ),
        error => IncludeError::Unavailable(error.to_string()),
    }
}
