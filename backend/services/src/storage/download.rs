//! Download of an object, and upload with a size limit.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::ByteStream,
};
use futures_util::StreamExt;
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The bytes of an artifact, a cache or an upload.
pub enum Download<T> {
    /// At this presigned URL, for some minutes.
    Redirect(String),
    /// As a stream, with a description of them.
    Stream(T, ByteStream),
}

impl<T> fmt::Debug for Download<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is a credential.
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

/// Stores an object, and returns an error if it has more than `max` bytes.
pub(crate) async fn put_bounded(context: &Context, key: &str, bytes: ByteStream, max: u64) -> Result<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (over, mut size) = (is_over.clone(), 0_u64);
    let counted = bytes.map(move |chunk| {
        let chunk = chunk?;
        size = size.saturating_add(chunk.len() as u64);
        if size > max {
            over.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(chunk)
    });
    match context.stores.objects.put(key, counted.boxed()).await {
        Err(_) if is_over.load(Ordering::Relaxed) => Err(too_large(max)),
        stored => stored.map(drop),
    }
}

/// Creates the error for an object of more than `max` bytes.
pub fn too_large(max: u64) -> Error {
    Error::TooLarge(format!("it has more than {max} bytes, the limit of the server"))
}
