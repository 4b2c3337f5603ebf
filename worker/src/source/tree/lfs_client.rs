//! Downloads files of Git LFS from the server of a repository, with its batch API.

use super::super::{
    bounds::OperationBounds,
    error::SourceErrorKind,
    git::{self, SourceError, lfs_pointer::Pointer},
    network::{HttpAccess, Remote},
};
use crate::client::{HttpClient, format_causes, read_body};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use http::{Method, Request, StatusCode, header};
use reqwest::{Body, Response, Url};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io::Write, path::Path, process::Stdio};
use tidemill_core::repository::{Credentials, RepositoryAddress, Scheme};

const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";
/// How many files one request asks for.
const BATCH: usize = 100;
/// Maximum size of a reply of the batch API in bytes.
const MAX_REPLY: u64 = 4 << 20;
/// Maximum number of headers that a reply may ask to send.
const MAX_HEADERS: usize = 50;
/// Maximum number of redirects of one download.
const MAX_REDIRECTS: usize = 5;

#[derive(Debug, Deserialize)]
struct BatchReply {
    #[serde(default)]
    objects: Vec<BatchObject>,
}

#[derive(Debug, Deserialize)]
struct BatchObject {
    oid: String,
    /// Whether the action needs no other credentials than those in its headers.
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    error: Option<ObjectError>,
}

#[derive(Debug, Clone, Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct ObjectError {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    message: String,
}

/// Downloads the contents of `pointers` into `directory`, a directory of LFS objects.
pub async fn download_lfs(
    remote: &Remote,
    pointers: &[Pointer],
    directory: &Path,
) -> Result<(), SourceError> {
    let access = remote.http_access()?;
    let endpoint = endpoint(&access.url)?;
    let client = HttpClient::new(None).with_proxy(access.proxy());
    let mut session = Session { client, endpoint, credentials: access.credentials.clone(), access };
    for batch in pointers.chunks(BATCH) {
        let reply = session.batch(batch).await?;
        for pointer in batch {
            let object = reply.objects.iter().find(|object| object.oid == pointer.hash);
            let object = object
                .ok_or_else(|| SourceError::new(format!("the server knows nothing of {}", pointer.hash)))?;
            if let Some(error) = &object.error {
                let message = format!("{}: {} ({})", pointer.hash, error.message, error.code);
                return Err(SourceError::new(message));
            }
            let action = object
                .actions
                .get("download")
                .ok_or_else(|| SourceError::new(format!("the server has no download of {}", pointer.hash)))?;
            let credentials = session.credentials_for(&action.href).filter(|_| !object.authenticated);
            session.download(action, credentials, pointer, directory).await?;
        }
    }
    Ok(())
}

/// Returns the address of the LFS API of a repository.
fn endpoint(url: &str) -> Result<String, SourceError> {
    let address = RepositoryAddress::parse(url).map_err(|error| SourceError::new(error.to_string()))?;
    let base = match address.scheme() {
        Scheme::Http | Scheme::Https => url.trim_end_matches('/').to_owned(),
        // The usual place of the API of a server whose repositories are fetched over SSH.
        _ => {
            let path = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = path.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
            format!("https://{}/{path}", address.host())
        }
    };
    let base = base.strip_suffix(".git").unwrap_or(&base);
    Ok(format!("{base}.git/info/lfs"))
}

/// Returns scheme, host and port of an address.
fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

struct Session {
    client: HttpClient,
    endpoint: String,
    credentials: Option<Credentials>,
    access: HttpAccess,
}

impl Session {
    async fn batch(&mut self, pointers: &[Pointer]) -> Result<BatchReply, SourceError> {
        let objects: Vec<_> = pointers
            .iter()
            .map(|pointer| serde_json::json!({ "oid": pointer.hash, "size": pointer.size }))
            .collect();
        let body = serde_json::json!({
            "operation": "download", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256",
        })
        .to_string();
        let mut reply = self.post(&body).await?;
        if reply.status() == StatusCode::UNAUTHORIZED && self.credentials.is_none() {
            self.credentials = helper_credentials(&self.access.url);
            if self.credentials.is_some() {
                reply = self.post(&body).await?;
            }
        }
        let status = reply.status();
        let text = read_body(reply, MAX_REPLY).await.map_err(|error| SourceError::new(error.to_string()))?;
        if !status.is_success() {
            let why = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "the server requires other credentials",
                StatusCode::NOT_FOUND => "the server has no Git LFS for this repository",
                _ => "the server refuses",
            };
            return Err(SourceError::new(format!("{}: {why} ({status})", self.endpoint)));
        }
        serde_json::from_slice(&text)
            .map_err(|error| SourceError::new(format!("{}: the reply is unreadable: {error}", self.endpoint)))
    }

    async fn post(&self, body: &str) -> Result<Response, SourceError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/objects/batch", self.endpoint))
            .header(header::ACCEPT, MEDIA_TYPE)
            .header(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some(credentials) = self.credentials_for(&self.endpoint) {
            request = request.header(header::AUTHORIZATION, credentials);
        }
        self.send(request, Body::from(body.to_owned())).await
    }

    async fn send(&self, request: http::request::Builder, body: Body) -> Result<Response, SourceError> {
        let invalid = |error: http::Error| SourceError::new(format!("the address is invalid: {error}"));
        let request = request.body(body).map_err(invalid)?;
        let silence = OperationBounds::current().limits.silence;
        match tokio::time::timeout(silence, self.client.send(request)).await {
            Ok(reply) => reply.map_err(|error| SourceError::new(error.to_string())),
            Err(_) => Err(silent(silence.as_secs())),
        }
    }

    /// Returns the header with the credentials for `url`, if it is on the host of the API.
    fn credentials_for(&self, url: &str) -> Option<String> {
        let Credentials { user, password } = self.credentials.as_ref()?;
        let is_same = origin(url)? == origin(&self.endpoint)?;
        is_same.then(|| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// Requests the content of `action`, and follows redirects. Its headers, which may contain credentials, are sent to its own
    /// host only.
    async fn open(&self, action: &Action, credentials: Option<String>) -> Result<Response, SourceError> {
        let mut url = action.href.clone();
        let has_own = action.header.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder().method(Method::GET).uri(&url);
            if origin(&url) == origin(&action.href) {
                for (name, value) in action.header.iter().take(MAX_HEADERS) {
                    request = request.header(name, value);
                }
                if let Some(credentials) = credentials.as_ref().filter(|_| !has_own) {
                    request = request.header(header::AUTHORIZATION, credentials);
                }
            }
            let reply = self.send(request, Body::default()).await?;
            if !reply.status().is_redirection() {
                return Ok(reply);
            }
            let target = reply.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| Url::parse(&url).ok()?.join(target).ok());
            url = target
                .ok_or_else(|| SourceError::new("the server of Git LFS redirects to an invalid address"))?
                .into();
        }
        Err(SourceError::new("the server of Git LFS redirects too often"))
    }

    async fn download(
        &self,
        action: &Action,
        credentials: Option<String>,
        pointer: &Pointer,
        directory: &Path,
    ) -> Result<(), SourceError> {
        let reply = self.open(action, credentials).await?;
        if !reply.status().is_success() {
            let status = reply.status();
            return Err(SourceError::new(format!("the download of {} failed ({status})", pointer.hash)));
        }
        let failed = |error: std::io::Error| SourceError::io("the source cache cannot be written", &error);
        let target = directory.join(pointer.object_path());
        let parent = target.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
        let (mut digest, mut size) = (Sha256::new(), 0_u64);
        let mut bytes = std::pin::pin!(reply.bytes_stream());
        let silence = OperationBounds::current().limits.silence;
        loop {
            let next = tokio::time::timeout(silence, bytes.try_next()).await;
            let next = next.map_err(|_| silent(silence.as_secs()))?;
            let Some(piece) = next.map_err(|error| SourceError::new(format_causes(&error)))? else { break };
            size += piece.len() as u64;
            if size > pointer.size {
                break;
            }
            digest.update(&piece);
            file.write_all(&piece).map_err(failed)?;
        }
        if size != pointer.size || HEXLOWER.encode(&digest.finalize()) != pointer.hash {
            return Err(SourceError::new(format!(
                "the server sent other bytes than those of {}",
                pointer.hash
            )));
        }
        file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn silent(seconds: u64) -> SourceError {
    SourceError::of(
        SourceErrorKind::TimedOut,
        format!("the server of Git LFS sent nothing within {seconds} s"),
    )
}

/// Returns the credentials that the operator's git has for the host of `url`.
fn helper_credentials(url: &str) -> Option<Credentials> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut input = tempfile::tempfile().ok()?;
    write!(input, "protocol={scheme}\nhost={host}\npath={path}\n\n").ok()?;
    std::io::Seek::rewind(&mut input).ok()?;
    let mut command = git::network_command(url).ok()?;
    let text = git::run(command.args(["credential", "fill"]).stdin(Stdio::from(input))).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    Some(Credentials { user: value("username=")?, password: value("password=")? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::endpoint;

    #[test]
    fn api_is_below_the_repository() {
        for (url, expected) in [
            ("https://h/g/app.git", "https://h/g/app.git/info/lfs"),
            ("https://h/g/app", "https://h/g/app.git/info/lfs"),
            ("http://h:3000/g/app.git", "http://h:3000/g/app.git/info/lfs"),
            ("ssh://git@h:2222/g/app.git", "https://h/g/app.git/info/lfs"),
        ] {
            assert_eq!(endpoint(url).unwrap(), expected);
        }
    }
}
