//! SourceService: takes sources that workers cannot fetch by themselves, and gives them to workers.

use super::{artifacts::Download, context::Context};
use crate::{
    error::{Error, Result},
    ports::{ByteStream, ObjectInfo},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tidemill_core::{
    api::{SourceUploadReply, SourceUploadRequest, path},
    upload::UploadId,
};

/// The largest upload: what an object store takes in one PUT.
const LARGEST: u64 = 5 << 30;

/// Uploaded sources. An upload is named by what is in it and never changes, so that one that is there is not sent again.
#[derive(Debug, Clone)]
pub struct SourceService {
    context: Arc<Context>,
}

impl SourceService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Where to put an upload, unless it is there already.
    pub async fn upload(&self, request: SourceUploadRequest) -> Result<SourceUploadReply> {
        let key = key(&request.upload)?;
        if let Some(size) = request.size.filter(|size| *size > LARGEST) {
            return Err(too_large(Some(size)));
        }
        let objects = &self.context.stores.objects;
        if objects.info(&key).await?.is_some() {
            return Ok(SourceUploadReply { url: None });
        }
        let here = || path::SOURCE_CONTENT.replace("{uploadId}", &request.upload);
        // Only who is about to send it says how large it is; an address is made for no one else.
        let address = match request.size {
            Some(_) => objects.put_address(&key).await?,
            None => None,
        };
        Ok(SourceUploadReply { url: Some(address.unwrap_or_else(here)) })
    }

    /// Stores an upload's bytes, for servers that presign to themselves. One that is there stays as it is.
    pub async fn put(&self, upload: &str, mut bytes: ByteStream) -> Result<()> {
        let key = key(upload)?;
        // What is named by its content is never nothing: a body that did not arrive must not stand for it.
        let first = bytes.next().await.transpose().map_err(|error| Error::io("receiving sources", error))?;
        let first = first.filter(|chunk| !chunk.is_empty());
        let first =
            first.ok_or_else(|| Error::Invalid("sources of no bytes; send what is to be stored".into()))?;
        let mut bytes = stream::once(std::future::ready(Ok(first))).chain(bytes);
        let objects = &self.context.stores.objects;
        if objects.info(&key).await?.is_some() {
            // Read to its end: a caller whose first try was stored, but not answered, sees that this one is, too.
            while bytes.next().await.is_some_and(|chunk| chunk.is_ok()) {}
            return Ok(());
        }
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let mut size = 0_u64;
        let limited = bytes.and_then(move |chunk| {
            size += chunk.len() as u64;
            let fits = size <= LARGEST;
            if !fits {
                seen.store(true, Ordering::Relaxed);
            }
            std::future::ready(if fits { Ok(chunk) } else { Err(io::Error::other("it is too large")) })
        });
        match objects.put(&key, limited.boxed()).await {
            Err(_) if over.load(Ordering::Relaxed) => Err(too_large(None)),
            stored => stored.map(drop),
        }
    }

    /// Where an upload's bytes are.
    pub async fn download(&self, upload: &str) -> Result<Download<ObjectInfo>> {
        let gone = || Error::NotFound(format!("there is no upload {upload} (any more); start the run again"));
        self.find(&key(upload)?, gone).await
    }

    /// Where the `tidemill` program of this SHA-256 is, which a deployment keeps for its workers.
    pub async fn program(&self, sha256: &str) -> Result<Download<ObjectInfo>> {
        let gone = || Error::NotFound(format!("there is no program {sha256} here; deploy again"));
        if sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(gone());
        }
        self.find(&format!("programs/{sha256}"), gone).await
    }

    async fn find(&self, key: &str, gone: impl Fn() -> Error) -> Result<Download<ObjectInfo>> {
        let objects = &self.context.stores.objects;
        let info = objects.info(key).await?.ok_or_else(&gone)?;
        if let Some(address) = objects.get_address(key).await? {
            return Ok(Download::Elsewhere(address));
        }
        match objects.get(key).await {
            Err(Error::NotFound(_)) => Err(gone()),
            got => Ok(Download::Here(info, got?)),
        }
    }
}

fn key(upload: &str) -> Result<String> {
    let upload: UploadId = upload.parse().map_err(|error| Error::Invalid(format!("`{upload}`: {error}")))?;
    Ok(format!("sources/{upload}"))
}

fn too_large(size: Option<u64>) -> Error {
    let had = size.map(|size| format!(" ({size} bytes)")).unwrap_or_default();
    Error::Invalid(format!(
        "the sources are too large{had}: an upload has at most {LARGEST} bytes; list what no job needs in .gitignore, or \
         push and run with --repo"
    ))
}
